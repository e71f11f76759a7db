//! Rust files that no `mod` line reaches: cargo would silently leave them out.

use std::collections::BTreeSet;

use super::{Complaint, rust_text, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut reached = BTreeSet::new();
    for file in tree.with_extension("rs") {
        if is_root(&file.path) {
            reach(tree, &file.path, &mut reached);
        }
    }
    let orphans = tree.with_extension("rs").filter(|file| !reached.contains(&file.path));
    orphans.map(|file| Complaint::new(&file.path, 0, "no `mod` line reaches this file")).collect()
}

/// What cargo compiles by itself.
fn is_root(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    matches!(
        parts[..],
        [.., "src", "lib.rs" | "main.rs"]
            | [.., "build.rs"]
            | [.., "src", "bin", _]
            | ["sdk", _, "misuse", _]
            | [.., "tests" | "benches" | "examples" | "fuzz_targets", _]
            | [.., "tests" | "benches" | "examples", _, "main.rs"]
    )
}

fn reach(tree: &Tree, path: &str, reached: &mut BTreeSet<String>) {
    let Some(file) = tree.get(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let owns_folder = is_root(path) || stem == "mod";
    let inside = if owns_folder { folder.to_owned() } else { format!("{folder}/{stem}") };
    for line in file.text().lines() {
        // Alone, or behind the condition of a `cfg_attr`.
        if line.trim().starts_with("#[")
            && let Some((_, rest)) = line.split_once("path = \"")
            && let Some((other, _)) = rest.split_once('"')
        {
            reach(tree, &format!("{folder}/{other}"), reached);
        }
    }
    let code = rust_text::code_only(file.text());
    for line in code.lines() {
        let line = line.trim();
        let Some((_, rest)) = line.split_once("mod ") else { continue };
        if let Some(module) = rest.strip_suffix(';') {
            reach(tree, &format!("{inside}/{module}.rs"), reached);
            reach(tree, &format!("{inside}/{module}/mod.rs"), reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn files_are_reached_through_their_parents() {
        let files = [
            (
                "a/src/lib.rs",
                "mod b;\npub(crate) mod c;\n#[cfg_attr(x, path = \"c/f.rs\")]\nmod g;",
            ),
            ("a/src/b.rs", "mod d;"),
            ("a/src/b/d.rs", ""),
            ("a/src/c/mod.rs", "// mod e;"),
            ("a/src/c/e.rs", ""),
            ("a/src/c/f.rs", ""),
        ];
        let found = check(&Tree::of(&files));
        assert_eq!(found.first().map(|orphan| orphan.path.as_str()), Some("a/src/c/e.rs"));
        assert_eq!(found.len(), 1);
    }
}
