//! The replay token: one line that names a run exactly.
//!
//! `5.<image>.<run>.<seed>.<processors>[.<deviations>[.<dropped>]]`: a version, eight hex digits of
//! the image's SHA-256, the number of the script, the seed and the number of processors in base 36,
//! deviations `kind_ordinal_answer` in base 36, joined by `-`, and the numbers of the script's
//! requests that are left out, in base 36, joined by `-`. A kind from 256 on is a question that
//! DriverEntry asked; its own number is that less 256.

use std::{fmt, str::FromStr};

use choice_tape::Deviation;
use system::MAX_PROCESSORS;

use crate::{Profile, shrink};

/// Names a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayToken {
    /// The first 32 bits of the image's SHA-256.
    pub image: u32,
    /// The script.
    pub script: u32,
    /// The seed.
    pub seed: u64,
    /// Processors of the machine.
    pub processors: u8,
    /// The deviations from the friendly answers.
    pub deviations: Vec<Deviation>,
    /// Requests of the script that are left out, in ascending order.
    pub dropped: Vec<u32>,
}

/// Why a text is no token, or none for this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another form.
    #[error(
        "not a replay token: expected `5.<image>.<run>.<seed>.<processors>`, \
        optionally with deviations"
    )]
    Malformed,
    /// Another version.
    #[error("the token has version `{found}`, this program reads version `5`")]
    Version {
        /// What it says.
        found: String,
    },
    /// A part is damaged.
    #[error("the token's {part} is damaged")]
    Part {
        /// Which.
        part: &'static str,
    },
}

impl ReplayToken {
    /// The profile that its run belongs to: strict if it has a neighbour.
    pub fn profile(&self) -> Profile {
        Profile::of_run(&self.deviations)
    }
}

/// Raised whenever scripts or questions get other numbers.
const VERSION: &str = "5";
/// No run of ours has more; a token from a stranger must not cost much.
const MAX_DEVIATIONS: usize = shrink::MOST_DEVIATIONS;
const MAX_DROPPED: usize = 512;
const MAX_TOKEN_BYTES: usize = 8192;

impl fmt::Display for ReplayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{:08x}.", self.image)?;
        let numbers = [u64::from(self.script), self.seed, u64::from(self.processors)];
        write!(f, "{}", numbers.map(base36).join("."))?;
        for (index, deviation) in self.deviations.iter().enumerate() {
            let Deviation { kind, ordinal, answer } = *deviation;
            let separator = if index == 0 { '.' } else { '-' };
            let [kind, ordinal, answer] =
                [u64::from(kind), u64::from(ordinal), u64::from(answer)].map(base36);
            write!(f, "{separator}{kind}_{ordinal}_{answer}")?;
        }
        if !self.dropped.is_empty() {
            let dropped: Vec<String> = self.dropped.iter().map(|n| base36((*n).into())).collect();
            let empty = if self.deviations.is_empty() { "." } else { "" };
            write!(f, "{empty}.{}", dropped.join("-"))?;
        }
        Ok(())
    }
}

impl FromStr for ReplayToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let (version, rest) = parts.split_first().ok_or(TokenError::Malformed)?;
        let is_number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        if *version != VERSION && is_number && version.len() <= 8 {
            return Err(TokenError::Version { found: (*version).to_owned() });
        }
        let (numbers, [deviations, dropped]) = match rest {
            [numbers @ .., deviations] if numbers.len() == 4 => (numbers, [*deviations, ""]),
            [numbers @ .., deviations, dropped] if numbers.len() == 4 => {
                (numbers, [*deviations, *dropped])
            }
            numbers => (numbers, ["", ""]),
        };
        let ([image, script, seed, processors], VERSION) = (numbers, *version) else {
            return Err(TokenError::Malformed);
        };
        let part = |part| TokenError::Part { part };
        let is_hex = image.len() == 8 && image.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hex {
            return Err(part("image"));
        }
        Ok(Self {
            image: u32::from_str_radix(image, 16).map_err(|_| part("image"))?,
            script: narrow(script).ok_or_else(|| part("run number"))?,
            seed: from_base36(seed).ok_or_else(|| part("seed"))?,
            processors: narrow(processors)
                .filter(|count| (1..=MAX_PROCESSORS).contains(count))
                .ok_or_else(|| part("number of processors"))?,
            deviations: parse_deviations(deviations).ok_or_else(|| part("list of deviations"))?,
            dropped: parse_dropped(dropped).ok_or_else(|| part("list of requests"))?,
        })
    }
}

fn parse_deviations(text: &str) -> Option<Vec<Deviation>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let list: Option<Vec<Deviation>> = text.split('-').map(parse_deviation).collect();
    list.filter(|list| list.len() <= MAX_DEVIATIONS)
}

fn parse_dropped(text: &str) -> Option<Vec<u32>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let list: Option<Vec<u32>> = text.split('-').map(narrow).collect();
    list.filter(|list| list.len() <= MAX_DROPPED && list.is_sorted_by(|a, b| a < b))
}

fn parse_deviation(text: &str) -> Option<Deviation> {
    let mut parts = text.split('_');
    let deviation = Deviation {
        kind: narrow(parts.next()?)?,
        ordinal: narrow(parts.next()?)?,
        answer: narrow(parts.next()?)?,
    };
    // An answer of 0 is the friendly one, which is never written down.
    (parts.next().is_none() && deviation.answer != 0).then_some(deviation)
}

fn narrow<T: TryFrom<u64>>(text: &str) -> Option<T> {
    T::try_from(from_base36(text)?).ok()
}

fn from_base36(text: &str) -> Option<u64> {
    // `from_str_radix` takes a sign, a token does not.
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_plain.then(|| u64::from_str_radix(text, 36).ok()).flatten()
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).ok().and_then(|d| char::from_digit(d, 36));
        digits.extend(digit);
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;

    use super::{ReplayToken, TokenError, base36};

    #[test]
    fn tokens_read_back() {
        let deviations = vec![
            Deviation { kind: 1, ordinal: 36, answer: 1 },
            Deviation { kind: u16::MAX, ordinal: u32::MAX, answer: u32::MAX },
        ];
        let token = ReplayToken {
            image: 0x7f3a,
            script: 70,
            seed: u64::MAX,
            processors: 8,
            deviations,
            dropped: Vec::new(),
        };
        let text = token.to_string();
        assert!(text.starts_with("5.00007f3a.1y.3w5e11264sgsf.8.1_10_1-"), "{text}");
        assert_eq!(text.parse(), Ok(token));
        let less = ReplayToken { processors: 1, dropped: vec![1, 36], ..ReplayToken::default() };
        assert_eq!(less.to_string(), "5.00000000.0.0.1..1-10");
        assert_eq!("5.00000000.0.0.1..1-10".parse(), Ok(less));
        let plain = ReplayToken { image: 1, processors: 1, ..ReplayToken::default() };
        assert_eq!(plain.to_string(), "5.00000001.0.0.1");
        assert_eq!("5.00000001.0.0.1".parse(), Ok(plain));
        assert_eq!(base36(35), "z");
    }

    #[test]
    fn strange_texts_are_refused() {
        let check =
            |text: &str, expected: fn(&TokenError) -> bool| match text.parse::<ReplayToken>() {
                Ok(token) => panic!("`{text}` was read as {token:?}"),
                Err(error) => assert!(expected(&error), "`{text}`: {error:?}"),
            };
        let malformed = |e: &TokenError| *e == TokenError::Malformed;
        let damaged = |e: &TokenError| matches!(e, TokenError::Part { .. });
        for text in [
            "",
            ".",
            "5",
            "5.2",
            "x.00000001.0.0.1",
            "5.00000001.0.0",
            "5.00000001.0.0.1.1_0_1.9.9",
        ] {
            check(text, malformed);
        }
        check("1.00000001.0.0", |e| matches!(e, TokenError::Version { .. }));
        check("17.what.ever", |e| matches!(e, TokenError::Version { .. }));
        for text in [
            "5.0000001.0.0.1",
            "5.+0000001.0.0.1",
            "5.00000001.-1.0.1",
            "5.00000001.zzzzzzzz.0.1",
            "5.00000001.0.+1.1",
            "5.00000001.0.zzzzzzzzzzzzzzzz.1",
            "5.00000001.0.0.0",
            "5.00000001.0.0.9",
            "5.00000001.0.0.1.1_0",
            "5.00000001.0.0.1.1_0_0",
            "5.00000001.0.0.1.1_0_1_1",
            "5.00000001.0.0.1.-",
            "5.00000001.0.ä.1",
            "5.00000001.0.0.1..2-1",
            "5.00000001.0.0.1..1-1",
            "5.00000001.0.0.1.1_0_1.zzzzzzzz",
        ] {
            check(text, damaged);
        }
        check(&"1".repeat(5000), malformed);
    }
}
