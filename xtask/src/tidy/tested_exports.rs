//! Every export has a test that calls it: from guest code, or beside its component.
//!
//! A call is seen by name: in C under `tests/ui`, or in a string of Rust test code, which is how
//! tests name exports. The tables that call every export with zeroes do not count.

use std::collections::BTreeSet;

use super::{Complaint, rust_text, tree::Tree};

const KERNEL: &str = "kernel/";
/// Rust tests whose programs name what they call.
const PROGRAMS: &str = "api/tests/";
/// These test limits, not behaviour.
const LIMITS: [&str; 2] = ["limits.rs", "conditions.rs"];
/// Called without being named, by every `__try` under `tests/ui`.
const UNNAMED: [&str; 1] = ["__C_specific_handler"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let called = called(tree);
    let mut complaints = Vec::new();
    for file in tree.with_extension("rs").filter(|file| file.path.starts_with(KERNEL)) {
        let code = rust_text::code_only(file.text());
        for (line, name) in listed(&code) {
            let written = written_as(file.text(), name);
            let is_called = called.contains(name) || written.is_some_and(|w| called.contains(w));
            // A type declared by hand is a routine of the kernel's own, which nobody can import.
            let is_internal =
                ["struct", "enum"].iter().any(|kind| code.contains(&format!("{kind} {name} {{}}")));
            if !is_called && !is_internal && !UNNAMED.contains(&name) {
                let message = format!("no test calls `{name}`");
                complaints.push(Complaint::new(&file.path, line, message));
            }
        }
    }
    complaints
}

/// The names in `exports![...]`, with their lines.
fn listed(code: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("exports![") {
        // A use of the macro, not a mention.
        if at != 0 && !code.get(..at).is_some_and(|before| before.ends_with('\n')) {
            continue;
        }
        let list = code.get(at + "exports![".len()..).unwrap_or_default();
        let list = list.get(..list.find(']').unwrap_or(0)).unwrap_or_default();
        let line = code.get(..at).unwrap_or_default().matches('\n').count() + 1;
        for (index, row) in list.lines().enumerate() {
            names.extend(rust_text::words(row).map(|(_, name)| (line + index, name)));
        }
    }
    names
}

/// The name that an author writes for an export, if it is another.
fn written_as<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {name}("))?;
    let attribute = text.get(text.get(..at)?.rfind("#[export(")?..at)?;
    attribute.split_once("written_as")?.1.split('"').nth(1)
}

/// Every name that a test calls.
fn called(tree: &Tree) -> BTreeSet<&str> {
    let mut called = BTreeSet::new();
    for file in &tree.files {
        let (path, text) = (file.path.as_str(), file.text());
        let is_c = path.starts_with("tests/") && [".c", ".h"].iter().any(|end| path.ends_with(end));
        if is_c {
            let ends = text.match_indices('(').map(|(at, _)| at);
            called.extend(ends.filter_map(|at| last_word(text.get(..at)?)));
        }
        let is_program = path.starts_with(PROGRAMS)
            && path.ends_with(".rs")
            && !LIMITS.iter().any(|name| path.ends_with(name));
        let is_test_module = path.starts_with(KERNEL) && path.ends_with("/tests.rs");
        let tests = if is_program || is_test_module {
            text
        } else if path.starts_with(KERNEL) && path.ends_with(".rs") {
            text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests)
        } else {
            ""
        };
        called.extend(tests.split('"').filter(|part| is_word(part)));
    }
    called
}

fn last_word(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = text.rfind(|c: char| !is_part(c)).map_or(0, |at| at + 1);
    text.get(start..).filter(|word| !word.is_empty())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && last_word(text) == Some(text)
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn an_export_is_called_by_either_name() {
        let kernel = "exports![\n    KeX,\n    KfY,\n    KeZ,\n];\n\
            #[export(irql = .., written_as = \"KeY\")]\nfn KfY() {}\n\
            #[cfg(test)]\nmod tests { fn t() { call(\"KeZ\") } }\n";
        let c = ("tests/ui/a/b/bad.c", "KeY(1); Other(KeX (2));");
        let complaints = check(&Tree::of(&[("kernel/n/src/ke.rs", kernel), c]));
        let lines: Vec<_> = complaints.iter().map(|complaint| complaint.line).collect();
        assert_eq!(lines, [2], "{complaints:?}");
        let program = ("api/tests/exports/ke.rs", "p.call(\"KeX\", &[])");
        assert_eq!(check(&Tree::of(&[("kernel/n/src/ke.rs", kernel), c, program])), []);
        let module = ("kernel/n/src/ke/tests.rs", "call(\"KeX\")");
        assert_eq!(check(&Tree::of(&[("kernel/n/src/ke.rs", kernel), c, module])), []);
        let limits = ("api/tests/exports/limits.rs", "p.call(\"KeX\", &[])");
        assert_eq!(check(&Tree::of(&[("kernel/n/src/ke.rs", kernel), c, limits])).len(), 1);
    }
}
