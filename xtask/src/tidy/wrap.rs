//! `cargo xtask tidy --wrap`: breaks comment lines that are too long; rustfmt leaves them alone.

use std::fs;

use anyhow::Result;

use super::{budgets::MAX_COLUMNS, tree::Tree};
use crate::repo;

/// Rewrites files in place and returns how many changed.
pub(super) fn run(tree: &Tree) -> Result<usize> {
    let mut changed = 0;
    for file in tree.with_extension("rs").filter(|file| !file.is_generated()) {
        let wrapped = wrap(file.text());
        if wrapped != file.text() {
            fs::write(repo::root().join(&file.path), wrapped)?;
            changed += 1;
        }
    }
    Ok(changed)
}

fn wrap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    let mut is_in_code = false;
    // Words that did not fit and have no line of their own yet.
    let mut carried = String::new();
    while let Some(line) = lines.next() {
        let Some((prefix, words)) = split(line) else {
            push(&mut out, line);
            continue;
        };
        let is_fence = words.starts_with("```");
        is_in_code ^= is_fence;
        if is_in_code || is_fence || words.starts_with('|') {
            push(&mut out, line);
            continue;
        }
        let indent = if is_item(words) { "  " } else { "" };
        let mut rest = if carried.is_empty() {
            words.to_owned()
        } else {
            let joined = format!("{carried} {words}");
            carried.clear();
            joined
        };
        let mut lead = prefix.to_owned();
        while let Some((head, tail)) = overflow(&lead, &rest) {
            push(&mut out, &format!("{lead}{head}"));
            let goes_on =
                |next: &&str| split(next).is_some_and(|(p, words)| p == prefix && is_plain(words));
            rest = tail;
            if lines.peek().is_some_and(goes_on) && overflow(prefix, &rest).is_none() {
                carried = std::mem::take(&mut rest);
                break;
            }
            lead = format!("{prefix}{indent}");
        }
        if carried.is_empty() {
            push(&mut out, format!("{lead}{rest}").trim_end());
        }
    }
    out
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Splits `    /// words` into `    /// ` and `words`; nothing for lines that are not all comment.
fn split(line: &str) -> Option<(&str, &str)> {
    let comment = line.trim_start();
    let slashes = comment.strip_prefix("//")?;
    let text = slashes.trim_start_matches(['/', '!']);
    let words = text.trim_start();
    Some((line.get(..line.len() - words.len())?, words))
}

fn is_item(words: &str) -> bool {
    words.starts_with("* ") || words.starts_with("- ")
}

/// The middle of a paragraph: no blank, list item, heading, table or tag.
fn is_plain(words: &str) -> bool {
    !words.is_empty()
        && !is_item(words)
        && !words.starts_with(['#', '|', '@', '~', '<'])
        && !words.starts_with("```")
        && !words.starts_with(|c: char| c.is_ascii_digit())
        && !words.split(' ').next().is_some_and(|word| word.ends_with(':'))
}

/// What fits into a line, and what does not.
fn overflow(lead: &str, words: &str) -> Option<(String, String)> {
    let room = MAX_COLUMNS.saturating_sub(lead.chars().count());
    if words.chars().count() <= room {
        return None;
    }
    let end = words.char_indices().nth(room + 1).map_or(words.len(), |(end, _)| end);
    let at = words.get(..end)?.rfind(' ')?;
    Some((words.get(..at)?.trim_end().to_owned(), words.get(at + 1..)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn words_flow_into_the_next_line_of_the_paragraph() {
        let long = "word ".repeat(18);
        let text = format!("    /// {long}end last\n    /// more\n    fn f() {{}}\n");
        let first = long.trim_end();
        let expected = format!("    /// {first}\n    /// end last more\n    fn f() {{}}\n");
        assert_eq!(wrap(&text), expected);
    }

    #[test]
    fn paragraphs_and_items_stay_apart() {
        let long = "word ".repeat(19);
        let text = format!("//! {long}end\n//!\n//! next\n// * {long}end\n// * b\n");
        let first = long.trim_end();
        let expected =
            format!("//! {first}\n//! end\n//!\n//! next\n// * {first}\n//   end\n// * b\n");
        assert_eq!(wrap(&text), expected);
        assert_eq!(wrap(&expected), expected);
    }
}
