//! What of a stranger's text may reach a terminal: names in files, words of a scenario, what a
//! driver says.

/// Whether a terminal shows the character as it is meant: no control character, and none that turns
/// the direction of the text behind it. Source: Unicode Standard Annex 9, "Directional Formatting
/// Characters".
pub fn is_printable(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !turns && !c.is_control()
}

/// The character, or a space.
pub fn printable_char(c: char) -> char {
    if is_printable(c) { c } else { ' ' }
}

/// The text in one line, with spaces for what is not printable.
pub fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn neither_control_nor_direction_gets_through() {
        assert_eq!(printable("a\u{1b}[31m\n\u{9b}b"), "a [31m  b");
        assert_eq!(printable("gpj\u{202e}sys.a\u{2066}"), "gpj sys.a ");
        assert_eq!(printable("Übung \u{5d0}"), "Übung \u{5d0}");
    }
}
