//! One ui test: its source, its wishes, its expected findings.
//!
//! Head of the file: `//@args: ...` (more arguments of `check`), `//@exit: N`, `//@cflags: ...`,
//! `//@compiler: mingw`. Beside a line, or with a `^` per line above: `//~ area::rule` for a
//! finding,
//! `//~ NOTE: words` for a step of its history that says these words.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{repo, toolchain::Source};

const HEADER_KEYS: [&str; 4] = ["args", "exit", "cflags", "compiler"];
/// Exit code of `bugcheck check` when there are findings.
const EXIT_FINDINGS: i32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `bad.c`, `bad_*.c`: has the mistake.
    Bad,
    /// `good.c`, `near_*.c`: must stay silent.
    Silent,
}

/// What stands beside a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Finding { line: usize, rule: String },
    Note { line: usize, words: String },
}

#[derive(Debug)]
pub(super) struct Case {
    /// From the root of the repository.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Id of the rule in whose folder the case lies.
    pub(super) rule: String,
    pub(super) source: Source,
    pub(super) arguments: Vec<String>,
    pub(super) exit: i32,
    pub(super) expected: Vec<Expected>,
}

/// Every case below `tests/ui` whose path contains `filter`, sorted by path. A malformed one is an
/// error of its own and hinders no other.
pub(super) fn all(folder: &Path, filter: &str) -> Result<Vec<Result<Case>>> {
    let mut cases = Vec::new();
    for file in repo::files_below(folder)? {
        let is_meant = file.to_string_lossy().contains(filter);
        if file.starts_with(folder.join("include")) || !is_meant {
            continue;
        }
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("c" | "cpp") => cases.push(Case::read(&file)),
            Some("h" | "stderr") => {}
            _ => bail!("{} is neither a driver nor its expected output", file.display()),
        }
    }
    Ok(cases)
}

impl Case {
    fn read(file: &Path) -> Result<Self> {
        let path = file.strip_prefix(repo::root())?.to_string_lossy().into_owned();
        let parts: Vec<_> = path.split('/').collect();
        let ["tests", "ui", area, rule, name] = parts[..] else {
            bail!("{path}: expected tests/ui/<area>/<rule>/<name>.c");
        };
        let stem = name.split('.').next().unwrap_or_default();
        let kind = match stem {
            "good" => Kind::Silent,
            _ if stem.starts_with("near_") => Kind::Silent,
            "bad" => Kind::Bad,
            _ if stem.starts_with("bad_") => Kind::Bad,
            _ => bail!("{path}: expected bad.c, bad_*.c, good.c or near_*.c"),
        };
        let rule = format!("{area}::{rule}");
        let source = Source::read(file)?;
        for (number, key) in source.header_keys() {
            if !HEADER_KEYS.contains(&key) {
                bail!("{path}:{number}: unknown key `{key}`, expected one of {HEADER_KEYS:?}");
            }
        }
        let exit = match source.header("exit") {
            Some(code) => {
                code.parse().with_context(|| format!("{path}: `{code}` is no exit code"))?
            }
            None if kind == Kind::Bad => EXIT_FINDINGS,
            None => 0,
        };
        let arguments = source.header("args").unwrap_or_default().split_whitespace();
        let arguments = arguments.map(str::to_owned).collect();
        let expected = annotations(&path, source.text())?;
        if kind == Kind::Silent && !expected.is_empty() {
            bail!("{path}: must stay silent, but has marks");
        }
        Ok(Self { path, kind, rule, source, arguments, exit, expected })
    }

    /// Where the expected text output is.
    pub(super) fn golden(&self) -> String {
        let stem = self.path.rsplit_once('.').map_or(self.path.as_str(), |(stem, _)| stem);
        format!("{stem}.stderr")
    }
}

fn annotations(path: &str, text: &str) -> Result<Vec<Expected>> {
    let mut expected = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let Some((_, mark)) = line.split_once("//~") else { continue };
        let words = mark.trim_start_matches('^');
        let line = number
            .checked_sub(mark.len() - words.len())
            .filter(|line| *line > 0)
            .with_context(|| format!("{path}:{number}: points above the first line"))?;
        let words = words.trim();
        expected.push(if let Some(words) = words.strip_prefix("NOTE:") {
            Expected::Note { line, words: words.trim().to_owned() }
        } else if is_rule_id(words) {
            Expected::Finding { line, rule: words.to_owned() }
        } else {
            bail!("{path}:{number}: expected `area::rule` or `NOTE: words`, found `{words}`");
        });
    }
    Ok(expected)
}

fn is_rule_id(words: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    words.split_once("::").is_some_and(|(area, rule)| is_name(area) && is_name(rule))
}

#[cfg(test)]
mod tests {
    use super::{Expected, annotations};

    fn check(text: &str) -> Vec<Expected> {
        annotations("x.c", text).expect("well formed")
    }

    #[test]
    fn marks_name_their_line() {
        let finding = |line| Expected::Finding { line, rule: "pool::double_free".to_owned() };
        assert_eq!(check("a\nb; //~ pool::double_free\n"), [finding(2)]);
        assert_eq!(check("a\nb\n//~^^ pool::double_free\n"), [finding(1)]);
        let note = Expected::Note { line: 1, words: "freed here".to_owned() };
        assert_eq!(check("a; //~ NOTE: freed here\n"), [note]);
        assert_eq!(check("a; // ~ not a mark\n"), []);
    }

    #[test]
    fn malformed_marks_are_errors() {
        assert!(annotations("x.c", "a; //~ double free\n").is_err());
        assert!(annotations("x.c", "//~^ pool::double_free\n").is_err());
    }
}
