//! Every Rust file starts with a subtitle; every C driver says what it is.

use super::{Complaint, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.with_extension("rs").filter(|file| !file.is_generated()) {
        if !file.text().starts_with("//! ") {
            complaints.push(Complaint::new(&file.path, 1, "expected `//! ` and what this file is"));
        }
    }
    let sources =
        tree.with_extension("c").chain(tree.with_extension("h")).chain(tree.with_extension("cpp"));
    for file in sources {
        let first = file.text().lines().find(|line| !line.starts_with("//@"));
        if !first.is_some_and(|line| line.starts_with("//") || line.starts_with("/*")) {
            complaints.push(Complaint::new(&file.path, 1, "expected a comment: what this file is"));
        }
    }
    complaints
}
