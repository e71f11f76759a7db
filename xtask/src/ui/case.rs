//! One ui test: its source, its wishes, its expected findings.
//!
//! Head of the file: `//@args: ...` (more arguments of `check`), `//@exit: N`, `//@strict: N` (exit
//! code where the strict profile tries a neighbour that the driver relies on not to be there),
//! `//@cflags: ...`, `//@compiler: mingw`, `//@needs: move` (with these moves of the hostile kernel
//! left out, the bad driver falls silent). Beside a line, or with a `^` per line above:
//! `//~ area::rule` for a finding, `//~ NOTE: words` for a step of its history that says these
//! words.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{repo, toolchain::Source};

const HEADER_KEYS: [&str; 6] = ["args", "exit", "strict", "cflags", "compiler", "needs"];
/// The arguments that let neighbours be tried which are not there today.
pub(super) const STRICT: [&str; 2] = ["--profile", "strict"];
/// Test folders of these areas are named after a neighbour or a move: the mistake has a rule of its
/// own.
const NOT_OF_RULES: [&str; 2] = ["profile", "move"];
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
    /// Moves without which nothing is found.
    pub(super) needs: Vec<String>,
    pub(super) exit: i32,
    /// Exit code under the strict profile, where that is another.
    pub(super) strict_exit: Option<i32>,
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
        let named = format!("{area}::{rule}");
        let source = Source::read(file)?;
        for (number, key) in source.header_keys() {
            if !HEADER_KEYS.contains(&key) {
                bail!("{path}:{number}: unknown key `{key}`, expected one of {HEADER_KEYS:?}");
            }
        }
        let code_of = |key| {
            let code = source.header(key);
            let number = |code: &str| {
                code.parse().with_context(|| format!("{path}: `{code}` is no exit code"))
            };
            code.map(number).transpose()
        };
        let strict_exit = code_of("strict")?;
        let exit = match code_of("exit")? {
            Some(code) => code,
            None if kind == Kind::Bad => EXIT_FINDINGS,
            None => 0,
        };
        let arguments = source.header("args").unwrap_or_default().split_whitespace();
        let arguments = arguments.map(str::to_owned).collect();
        let needs = source.header("needs").unwrap_or_default().split_whitespace();
        let needs: Vec<String> = needs.map(str::to_owned).collect();
        if kind == Kind::Silent && !needs.is_empty() {
            bail!("{path}: finds nothing, and so needs no move");
        }
        let expected = annotations(&path, source.text())?;
        if kind == Kind::Silent && !expected.is_empty() {
            bail!("{path}: must stay silent, but has marks");
        }
        let broken = expected.iter().find_map(|expected| match expected {
            Expected::Finding { rule, .. } => Some(rule.clone()),
            Expected::Note { .. } => None,
        });
        let rule = broken.filter(|_| NOT_OF_RULES.contains(&area)).unwrap_or(named);
        Ok(Self { path, kind, rule, source, arguments, needs, exit, strict_exit, expected })
    }

    /// Whether neighbours are tried.
    pub(super) fn is_strict(&self) -> bool {
        self.arguments.windows(2).any(|pair| pair == STRICT)
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
