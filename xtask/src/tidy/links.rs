//! Relative links in documents lead to files that exist.

use super::{Complaint, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.with_extension("md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in file.lines() {
            for rest in line.split("](").skip(1) {
                let target = rest.split([')', '#']).next().unwrap_or_default();
                if target.is_empty() || target.contains("://") {
                    continue;
                }
                let path = resolve(folder, target);
                let is_folder = tree.files.iter().any(|f| f.path.starts_with(&format!("{path}/")));
                if tree.get(&path).is_none() && !is_folder {
                    let message = format!("link to `{target}`, which does not exist");
                    complaints.push(Complaint::new(&file.path, number, message));
                }
            }
        }
    }
    complaints
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn links_are_relative_to_their_file() {
        let files =
            [("README.md", ""), ("docs/a.md", "[x](../README.md) [y](b.md#z) [w](https://w)")];
        assert_eq!(check(&Tree::of(&files)).len(), 1);
    }
}
