//! Size budgets: 800 lines per file, 100 columns per line. clippy counts the lines of functions.
//!
//! A file with a good reason says `// BUDGET:` and the reason in its head.

use super::{Complaint, tree::Tree};

const MAX_LINES: usize = 800;
pub(super) const MAX_COLUMNS: usize = 100;
pub(super) const MARK: &str = "// BUDGET:";

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let is_source = |path: &str| [".rs", ".c", ".h", ".cpp"].iter().any(|end| path.ends_with(end));
    for file in tree.files.iter().filter(|file| is_source(&file.path) && !file.is_generated()) {
        let has_reason = file.lines().take(40).any(|(_, line)| line.starts_with(MARK));
        let count = file.lines().count();
        if count > MAX_LINES && !has_reason {
            complaints.push(Complaint::new(
                &file.path,
                0,
                format!("{count} lines, expected at most {MAX_LINES}"),
            ));
        }
        for (number, line) in file.lines() {
            let columns = line.chars().count();
            let is_long_word = line.split_whitespace().any(|word| word.starts_with("http"));
            if columns > MAX_COLUMNS && !is_long_word && !has_reason {
                let message = format!("{columns} columns, expected at most {MAX_COLUMNS}");
                complaints.push(Complaint::new(&file.path, number, message));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn long_lines_need_a_reason() {
        let long = format!("//! x\n// {}\n", "y".repeat(100));
        assert_eq!(check(&Tree::of(&[("a.rs", &long)])).len(), 1);
        let excused = format!("{long}// BUDGET: a table\n");
        assert!(check(&Tree::of(&[("a.rs", &excused)])).is_empty());
        assert_eq!(check(&Tree::of(&[("a.rs", &"x\n".repeat(801))])).len(), 1);
    }
}
