//! No path of the machine where something was built, in any file, prebuilt images included.

use super::{Complaint, tree::Tree};

/// Split, so that this file does not complain about itself.
const PREFIXES: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tm", "p/"),
    concat!("/Use", "rs/"),
    concat!("C:\\Use", "rs\\"),
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        for prefix in PREFIXES {
            let mut windows = file.bytes.windows(prefix.len());
            if let Some(at) = windows.position(|window| window == prefix.as_bytes()) {
                let before = file.bytes.get(..at).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let message = format!("names a path of one machine, `{prefix}`");
                complaints.push(Complaint::new(&file.path, line, message));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn a_path_is_found_on_its_line() {
        let found = check(&Tree::of(&[("a.stderr", concat!("x\nin /ho", "me/me/x.c\n"))]));
        assert_eq!(found.first().map(|complaint| complaint.line), Some(2));
        assert!(check(&Tree::of(&[("a.rs", "//! docs and /dev/null\n")])).is_empty());
    }
}
