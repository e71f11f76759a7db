//! Names that are nearly right.

/// Names that are offered.
const MOST_OFFERED: usize = 3;
/// Characters of a word that are looked at: a stranger's may be long.
const MOST_CHARS: usize = 64;

/// The known names that somebody may have meant, the likeliest first.
pub(crate) fn near<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let word: String = word.chars().take(MOST_CHARS).flat_map(char::to_lowercase).collect();
    let mut found: Vec<(usize, &str)> =
        names.filter_map(|name| Some((distance(&word, name)?, name))).collect();
    found.sort_by_key(|(distance, name)| (*distance, name.len()));
    found.dedup();
    // A typing error of one name is no reason to offer others that are far from it.
    let best = found.first().map_or(0, |(distance, _)| *distance);
    found.retain(|(distance, _)| *distance <= best + 1);
    found.into_iter().map(|(_, name)| name).take(MOST_OFFERED).collect()
}

/// The end of a sentence about a name that nobody knows: `; did you mean ...?`, or the other text
/// if no known name is near.
pub(crate) fn did_you_mean<'n>(
    word: &str,
    names: impl Iterator<Item = &'n str>,
    otherwise: &str,
) -> String {
    let found: Vec<String> =
        near(word, names).into_iter().map(|name| format!("`{name}`")).collect();
    match found.as_slice() {
        [] => otherwise.to_owned(),
        [one] => format!("; did you mean {one}?"),
        [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
    }
}

/// How far a name is from a word in lower case; `None` if it is another one.
fn distance(word: &str, name: &str) -> Option<usize> {
    let last = name.rsplit("::").next().unwrap_or(name);
    let whole = strsim::damerau_levenshtein(word, &name.to_lowercase());
    // The area may be left out.
    let of_last = strsim::damerau_levenshtein(word, &last.to_lowercase());
    let typed = whole.min(of_last + usize::from(last != name));
    let least = word.chars().count().min(if whole <= of_last { name.len() } else { last.len() });
    if typed * 3 <= least {
        return Some(typed);
    }
    // Part of a longer name.
    let is_part = word.chars().count() >= 4 && name.contains(word);
    is_part.then(|| 2 + name.len().abs_diff(word.len()) / 8)
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, near};

    const NAMES: [&str; 5] =
        ["pool::double_free", "pool::leaked_at_unload", "pool::tag_zero", "race::torn", "read"];

    #[test]
    fn what_was_meant_is_found() {
        let cases: [(&str, &[&str]); 9] = [
            ("pool::doublefree", &["pool::double_free"]),
            ("double_free", &["pool::double_free"]),
            ("pool::leaked", &["pool::leaked_at_unload"]),
            ("POOL::TAG_ZERO", &["pool::tag_zero"]),
            ("pool:tag_zero", &["pool::tag_zero"]),
            ("raed", &["read"]),
            ("foo", &[]),
            ("", &[]),
            ("x", &[]),
        ];
        for (word, expected) in cases {
            assert_eq!(near(word, NAMES.into_iter()), expected, "{word}");
        }
    }

    #[test]
    fn it_is_said_in_one_sentence() {
        let said = |word, names: &[&'static str]| {
            did_you_mean(word, names.iter().copied(), "; there is none")
        };
        assert_eq!(said("foo", &NAMES), "; there is none");
        assert_eq!(said("raed", &NAMES), "; did you mean `read`?");
        let several = said("pct0", &["pct1", "pct2", "pct3"]);
        assert_eq!(several, "; did you mean `pct1`, `pct2` or `pct3`?");
        assert_eq!(said(&"x".repeat(1 << 20), &NAMES), "; there is none");
    }
}
