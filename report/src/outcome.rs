//! What a check came to, and its exit code.

use serde::{Deserialize, Serialize};

/// What a check came to. In order of precedence: over several runs and files the first of these
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Our bug.
    InternalError,
    /// A file that cannot be read or is no driver.
    InputError,
    /// The driver broke a rule.
    Findings,
    /// The driver needs something that is not modelled.
    Unsupported,
    /// Time, memory or runs ran out.
    LimitReached,
    /// The explored runs broke no rule.
    Clean,
}

impl Outcome {
    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InternalError => 70,
            Self::InputError => 2,
            Self::Findings => 1,
            Self::Unsupported => 3,
            Self::LimitReached => 4,
            Self::Clean => 0,
        }
    }

    /// The one of two that counts.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        self.min(other)
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn precedence_is_70_2_1_3_4_0() {
        let mut all = [
            Outcome::Clean,
            Outcome::Findings,
            Outcome::InputError,
            Outcome::InternalError,
            Outcome::LimitReached,
            Outcome::Unsupported,
        ];
        all.sort_unstable();
        assert_eq!(all.map(Outcome::exit_code), [70, 2, 1, 3, 4, 0]);
        assert_eq!(Outcome::Clean.worse(Outcome::LimitReached), Outcome::LimitReached);
    }
}
