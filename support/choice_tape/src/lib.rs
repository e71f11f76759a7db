//! The choice tape: the only source of every free answer in a run.
//!
//! Code that reaches a point where a real machine could behave in more than one way asks the tape.
//! The friendly answer is always 0. A tape holds only the *deviations* from it, keyed by the kind
//! of question and by how many questions of that kind came before, so that removing one deviation
//! shifts no other.

use std::collections::BTreeMap;
use std::fmt;

/// The kind of a question. Stable numbers: they appear in replay tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChoiceKind {
    /// The number in a replay token.
    pub number: u16,
    /// The name in a report.
    pub name: &'static str,
}

impl fmt::Debug for ChoiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// One deviation from a friendly answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation {
    /// Number of the kind of question.
    pub kind: u16,
    /// How many questions of this kind came before.
    pub ordinal: u32,
    /// The answer; never 0.
    pub answer: u32,
}

/// Answers of one run: friendly ones, but for the deviations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    deviations: BTreeMap<(u16, u32), u32>,
    asked: BTreeMap<u16, u32>,
}

impl Tape {
    /// Builds a tape with these deviations and nothing asked yet.
    pub fn new(deviations: impl IntoIterator<Item = Deviation>) -> Self {
        let deviations = deviations.into_iter().map(|d| ((d.kind, d.ordinal), d.answer)).collect();
        Self { deviations, asked: BTreeMap::new() }
    }

    /// Answers the next question of `kind` with a number below `options`; 0 is the friendly answer.
    ///
    /// A deviation outside the range is answered by 0: a tape from a stranger must not reach an
    /// impossible state.
    pub fn ask(&mut self, kind: ChoiceKind, options: u32) -> u32 {
        let asked = self.asked.entry(kind.number).or_insert(0);
        let ordinal = *asked;
        *asked = asked.saturating_add(1);
        let answer = self.deviations.get(&(kind.number, ordinal)).copied().unwrap_or(0);
        if answer < options { answer } else { 0 }
    }

    /// Returns how many questions of `kind` were asked.
    pub fn asked(&self, kind: ChoiceKind) -> u32 {
        self.asked.get(&kind.number).copied().unwrap_or(0)
    }

    /// Lists the deviations in order of kind and ordinal.
    pub fn deviations(&self) -> impl Iterator<Item = Deviation> + '_ {
        self.deviations.iter().map(|(&(kind, ordinal), &answer)| Deviation {
            kind,
            ordinal,
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ChoiceKind, Deviation, Tape};

    const FAIL: ChoiceKind = ChoiceKind { number: 1, name: "fail" };
    const FILL: ChoiceKind = ChoiceKind { number: 2, name: "fill" };

    #[test]
    fn deviations_are_found_by_kind_and_ordinal() {
        let mut tape = Tape::new([Deviation { kind: 1, ordinal: 1, answer: 1 }]);
        assert_eq!((tape.ask(FILL, 2), tape.ask(FAIL, 2), tape.ask(FAIL, 2)), (0, 0, 1));
        assert_eq!((tape.asked(FAIL), tape.asked(FILL)), (2, 1));
    }

    #[test]
    fn an_impossible_answer_is_friendly() {
        let mut tape = Tape::new([Deviation { kind: 1, ordinal: 0, answer: 7 }]);
        assert_eq!(tape.ask(FAIL, 2), 0);
    }
}
