//! The full text output of a bad driver, kept beside it.

use std::fs;

use anyhow::{Context, Result};
use regex_lite::Regex;

use super::{Outcome, case::Case};
use crate::repo;

/// What may change from one machine or version to the next, and what stands for it.
const NORMALISED: [(&str, &str); 10] = [
    // Cached images lie under a hash.
    (r"[^\s\x22]*drivers/[0-9a-f]{32}/", ""),
    (r"bugcheck replay \S+", "bugcheck replay $$TOKEN"),
    (r"\(replay: \S+\)", "(replay: $$TOKEN)"),
    // The plan of runs grows with the workload, and says nothing about the rule.
    (r"\(run \d+ of \d+(?:, seen in \d+ of \d+)?\)", "(run $$N of $$N)"),
    (r"\b\d+ runs\b", "$$N runs"),
    // How far schedules were explored says nothing about the rule either.
    (r"(?m)^explored: .*\n", ""),
    // Addresses as WinDbg writes them.
    (r"\b[0-9a-f]{8}`[0-9a-f]{8}\b", "$$ADDRESS"),
    (r"\b0x(?:ffff|FFFF)[0-9a-fA-F]{12}\b", "$$ADDRESS"),
    (r"\bbugcheck \d+\.\d+\.\d+\b", "bugcheck $$VERSION"),
    (r"\b\d+ (?:instructions|events)\b", "$$COUNT"),
];

/// Compares with the file beside the test, or writes it.
pub(super) fn check(case: &Case, outcome: &Outcome, bless: bool) -> Result<Option<String>> {
    let actual = normalise(&format!("{}{}", outcome.stdout, outcome.stderr))?;
    let file = repo::root().join(case.golden());
    if bless {
        fs::write(&file, actual).with_context(|| format!("cannot write {}", case.golden()))?;
        return Ok(None);
    }
    let Ok(expected) = fs::read_to_string(&file) else {
        return Ok(Some(format!("{} is missing; write it with `--bless`", case.golden())));
    };
    let what = format!("{} differs; accept with `--bless`", case.golden());
    Ok((actual != expected).then(|| first_difference(&what, &expected, &actual)))
}

/// Names the first line in which two texts differ.
pub(crate) fn first_difference(what: &str, expected: &str, actual: &str) -> String {
    let pairs = expected.lines().zip(actual.lines());
    let same = pairs.take_while(|(expected, actual)| expected == actual).count();
    let line_of = |text| str::lines(text).nth(same).unwrap_or("(end)");
    let (expected, actual) = (line_of(expected), line_of(actual));
    // A JSON report is one long line.
    let pairs = expected.chars().zip(actual.chars());
    let column = pairs.take_while(|(expected, actual)| expected == actual).count();
    let shown =
        |line: &str| line.chars().skip(column.saturating_sub(100)).take(300).collect::<String>();
    format!("{what}\n  line {}\n  - {}\n  + {}", same + 1, shown(expected), shown(actual))
}

fn normalise(text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for (pattern, replacement) in NORMALISED {
        text = Regex::new(pattern)?.replace_all(&text, replacement).into_owned();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn what_may_change_is_replaced() {
        let cases = [
            ("at fffff800`1234abcd", "at $ADDRESS"),
            ("/x/drivers/0123456789abcdef0123456789abcdef/bad.sys", "bad.sys"),
            (
                "replay: bugcheck replay 1.7f3a.0g2 bad.sys",
                "replay: bugcheck replay $TOKEN bad.sys",
            ),
            ("it ended 1 of 9 runs (replay: 1.7f3a.0g2)", "it ended 1 of $N runs (replay: $TOKEN)"),
            ("a.sys  (run 5 of 179)", "a.sys  (run $N of $N)"),
            ("0x00000103", "0x00000103"),
        ];
        for (text, expected) in cases {
            assert_eq!(normalise(text).expect("the table holds valid patterns"), expected);
        }
    }
}
