//! Words that mean "not finished" or "not tested", and exceptions without a reason.

use super::{Complaint, rust_text, tree::Tree};

/// In code. `expect` is the form that notices when it is no longer needed.
const IN_CODE: [(&str, &str); 6] = [
    ("todo!", "finish it, or stop with `Unsupported` and the name"),
    ("unimplemented!", "finish it, or stop with `Unsupported` and the name"),
    ("#[ignore", "assert today's behaviour instead of skipping the test"),
    ("should_panic", "assert on the error value"),
    ("#[allow(", "use `#[expect(..., reason = \"...\")]`"),
    ("#![allow(", "use `#![expect(..., reason = \"...\")]`"),
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.with_extension("rs") {
        let code = rust_text::code_only(file.text());
        for (index, line) in code.lines().enumerate() {
            for (word, instead) in IN_CODE {
                if line.contains(word) {
                    let message = format!("`{word}`: {instead}");
                    complaints.push(Complaint::new(&file.path, index + 1, message));
                }
            }
        }
        for (number, line) in file.lines() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            if rust_text::words(comment).any(|(_, word)| word == concat!("TO", "DO")) {
                complaints.push(Complaint::new(&file.path, number, "unfinished work in a comment"));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn words_in_strings_are_no_code() {
        let check = |text| check(&Tree::of(&[("a.rs", text)])).len();
        assert_eq!(check("fn f() { todo!() }"), 1);
        assert_eq!(check("const X: &str = \"todo!\";"), 0);
        assert_eq!(check(concat!("// TO", "DO: later")), 1);
    }
}
