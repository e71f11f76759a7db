//! Just enough reading of Rust to see code without comments and string contents.

/// Blanks comments, strings and character literals, keeping every line where it is.
pub(super) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let skipped = skipped_at(bytes, at);
        let end = at + skipped.max(1);
        for &byte in bytes.get(at..end.min(bytes.len())).unwrap_or_default() {
            let is_kept = byte == b'\n' || (skipped == 0 && byte.is_ascii());
            code.push(if is_kept { char::from(byte) } else { ' ' });
        }
        at = end;
    }
    code
}

/// Length of the comment or literal that starts here, or 0.
fn skipped_at(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b' ');
    let is_word = before.is_ascii_alphanumeric() || before == b'_';
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'r', b'"' | b'#', ..] if !is_word => raw_string(rest),
        [b'b', b'r', b'"' | b'#', ..] if !is_word => {
            1 + raw_string(rest.get(1..).unwrap_or_default())
        }
        [b'\'', b'\\', ..] => {
            2 + rest.iter().skip(3).position(|b| *b == b'\'').map_or(0, |n| n + 2)
        }
        [b'\'', _, b'\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r#word` is not a string: 0.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest.iter().skip(1).take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = rest.get(2 + hashes..).unwrap_or_default();
    let length = body.windows(end.len()).position(|window| window == end);
    length.map_or(rest.len(), |length| 2 + hashes + length + end.len())
}

/// The words of code, with their lines.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter(|word| !word.is_empty()).map(move |word| (index + 1, word))
    })
}

/// Names `x` of every `<root>::x` and `<root>::{x, y::z}`, with their lines.
pub(super) fn names_below<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let prefix = format!("{root}::");
    let mut names = Vec::new();
    for (at, _) in code.match_indices(&prefix) {
        let is_part = code.get(..at).and_then(|before| before.chars().next_back());
        if is_part.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = code.get(at + prefix.len()..).unwrap_or_default();
        let line = code.get(..at).unwrap_or_default().matches('\n').count() + 1;
        match rest.strip_prefix('{') {
            None => names.push((line, first_word(rest))),
            Some(group) => names.extend(group_names(group).into_iter().map(|name| (line, name))),
        }
    }
    names
}

/// First words of the items of a `{...}` group whose opening brace is gone.
fn group_names(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut start = 0;
    let mut names = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let name = first_word(group.get(start..at).unwrap_or_default().trim_start());
                if !name.is_empty() {
                    names.push(name);
                }
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{code_only, names_below};

    #[test]
    fn comments_and_literals_vanish() {
        let cases = [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("un\"safe") g"#, "f(          ) g"),
            (r##"r#"unsafe"# x"##, "            x"),
            ("'\\'' x 'a' <'b>", "     x     <'b>"),
        ];
        for (text, expected) in cases {
            assert_eq!(code_only(text), expected, "{text}");
        }
    }

    #[test]
    fn names_of_paths_and_groups() {
        let code = "use crate::{\n    a, b::{c, d},\n    e,\n};\nlet x = crate::f::g();";
        assert_eq!(names_below(code, "crate"), [(1, "a"), (1, "b"), (1, "e"), (5, "f")]);
        assert!(names_below("use my_crate::a;", "crate").is_empty());
    }
}
