//! Object names: counted UTF-16, compared without case.

use std::fmt;

/// A name or a path of the object name space.
///
/// Names compare without case whatever `OBJ_CASE_INSENSITIVE` says, as Windows does unless an
/// administrator changes `ObCaseInsensitive`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Name(pub Vec<u16>);

/// The separator of paths.
const SEPARATOR: u16 = b'\\' as u16;

impl Name {
    /// Encodes a name of ours.
    pub fn new(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }

    /// Length in bytes, as a `UNICODE_STRING` counts.
    pub fn size_bytes(&self) -> u64 {
        2 * self.0.len() as u64
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key under which a directory keeps it.
    pub fn key(&self) -> Vec<u16> {
        self.0.iter().map(|&unit| upcase(unit)).collect()
    }

    /// Whether this is a name of ours, letter for letter.
    pub fn is(&self, text: &str) -> bool {
        text.encode_utf16().eq(self.0.iter().copied())
    }

    /// Compares without case.
    pub fn matches(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// Splits the first component from a path that starts with a separator: `\A\B` is `A` and `\B`.
    pub fn split_first(&self) -> Option<(Self, Self)> {
        let rest = self.0.strip_prefix(&[SEPARATOR])?;
        let end = rest.iter().position(|&unit| unit == SEPARATOR).unwrap_or(rest.len());
        let (component, remaining) = rest.split_at(end);
        Some((Self(component.to_vec()), Self(remaining.to_vec())))
    }

    /// This name with another behind it.
    #[must_use]
    pub fn with(&self, tail: &Self) -> Self {
        Self([self.0.as_slice(), tail.0.as_slice()].concat())
    }

    /// This path with a component behind it.
    #[must_use]
    pub fn join(&self, component: &Self) -> Self {
        Self([self.0.as_slice(), &[SEPARATOR], component.0.as_slice()].concat())
    }
}

/// Upcases one UTF-16 unit as the tables of Windows do where the mapping is one to one.
fn upcase(unit: u16) -> u16 {
    let Some(letter) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf16_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    fn check(path: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(first, rest)| (Name::new(first), Name::new(rest)));
        assert_eq!(Name::new(path).split_first(), expected, "{path}");
    }

    #[test]
    fn paths_split_at_separators() {
        check(r"\Device\Zero", Some(("Device", r"\Zero")));
        check(r"\Zero", Some(("Zero", "")));
        check(r"\\Zero", Some(("", r"\Zero")));
        check(r"\", Some(("", "")));
        check("Zero", None);
        check("", None);
    }

    #[test]
    fn names_match_without_case() {
        assert!(Name::new("PriorityBooster").matches(&Name::new("prioritybOOSTER")));
        assert!(Name::new("Stra\u{df}e").matches(&Name::new("STRA\u{df}E")));
        assert!(!Name::new("Zero").matches(&Name::new("Zer0")));
    }
}
