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

/// Chance deviations: a pure function of the seed, the kind and the number of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Equal seeds give equal answers.
    pub seed: u64,
    /// Which kinds, and how many of 1,000 questions of each deviate.
    pub per_mille: &'static [(ChoiceKind, u32)],
}

impl Chance {
    fn answer(&self, kind: ChoiceKind, ordinal: u32, options: u32) -> u32 {
        let Some(&(_, per_mille)) = self.per_mille.iter().find(|(of, _)| *of == kind) else {
            return 0;
        };
        let number = mix(self.seed ^ mix(u64::from(kind.number) << 32 | u64::from(ordinal)));
        if options < 2 || number % 1000 >= u64::from(per_mille) {
            return 0;
        }
        // Small answers come more often: bounds are powers of two of any size alike.
        let bits = u64::from(u32::BITS - (options - 1).leading_zeros());
        let bound = 1 << ((number >> 40) % (bits + 1));
        let choice = number / 1000 % bound % u64::from(options - 1);
        1 + u32::try_from(choice).unwrap_or(0)
    }
}

/// The output function of splitmix64.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Answers of one run: friendly ones, but for the deviations, and chance where it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    deviations: BTreeMap<(u16, u32), u32>,
    asked: BTreeMap<u16, u32>,
    chance: Option<Chance>,
    constant: Option<(ChoiceKind, u32)>,
}

impl Tape {
    /// Builds a tape with these deviations and nothing asked yet.
    pub fn new(deviations: impl IntoIterator<Item = Deviation>) -> Self {
        let deviations = deviations.into_iter().map(|d| ((d.kind, d.ordinal), d.answer)).collect();
        Self { deviations, asked: BTreeMap::new(), chance: None, constant: None }
    }

    /// Lets chance answer the questions that no deviation answers.
    #[must_use]
    pub fn with_chance(self, chance: Chance) -> Self {
        Self { chance: Some(chance), ..self }
    }

    /// Answers every question of a kind alike, where no deviation says otherwise.
    #[must_use]
    pub fn with_constant(self, kind: ChoiceKind, answer: u32) -> Self {
        Self { constant: Some((kind, answer)), ..self }
    }

    /// Answers the next question of `kind` with a number below `options`; 0 is the friendly answer.
    ///
    /// A deviation outside the range is answered by 0: a tape from a stranger must not reach an
    /// impossible state.
    pub fn ask(&mut self, kind: ChoiceKind, options: u32) -> u32 {
        let asked = self.asked.entry(kind.number).or_insert(0);
        let ordinal = *asked;
        *asked = asked.saturating_add(1);
        let by_chance = || self.chance.map_or(0, |chance| chance.answer(kind, ordinal, options));
        let answer = self.deviations.get(&(kind.number, ordinal)).copied();
        let constant = self.constant.filter(|(of, _)| *of == kind).map(|(_, answer)| answer);
        let answer = answer.or(constant).unwrap_or_else(by_chance);
        if answer < options { answer } else { 0 }
    }

    /// Lists the deviations of a kind that is never asked: points that a tape sets, as ordinal and
    /// answer.
    pub fn points(&self, kind: ChoiceKind) -> impl Iterator<Item = (u32, u32)> + '_ {
        let range = (kind.number, 0)..=(kind.number, u32::MAX);
        self.deviations.range(range).map(|(&(_, ordinal), &answer)| (ordinal, answer))
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
    use super::{Chance, ChoiceKind, Deviation, Tape};

    const FAIL: ChoiceKind = ChoiceKind { number: 1, name: "fail" };
    const FILL: ChoiceKind = ChoiceKind { number: 2, name: "fill" };

    #[test]
    fn deviations_are_found_by_kind_and_ordinal() {
        let mut tape = Tape::new([Deviation { kind: 1, ordinal: 1, answer: 1 }]);
        assert_eq!((tape.ask(FILL, 2), tape.ask(FAIL, 2), tape.ask(FAIL, 2)), (0, 0, 1));
        assert_eq!((tape.asked(FAIL), tape.asked(FILL)), (2, 1));
    }

    #[test]
    fn chance_repeats_and_keeps_to_its_rate() {
        let chance = Chance { seed: 7, per_mille: &[(FAIL, 100)] };
        let answers = || {
            let mut tape = Tape::default().with_chance(chance);
            (0..10_000).map(|_| tape.ask(FAIL, 3)).collect::<Vec<_>>()
        };
        let first = answers();
        assert_eq!(first, answers());
        let deviating = first.iter().filter(|answer| **answer != 0).count();
        assert!((800..1200).contains(&deviating), "{deviating}");
        assert!(first.contains(&1) && first.contains(&2) && !first.contains(&3));
        let mut tape = Tape::default().with_chance(chance);
        assert!((0..100).all(|_| tape.ask(FILL, 2) == 0));
    }

    #[test]
    fn a_constant_answers_every_question_of_its_kind() {
        let deviation = Deviation { kind: 1, ordinal: 1, answer: 2 };
        let mut tape = Tape::new([deviation]).with_constant(FAIL, 1);
        assert_eq!([tape.ask(FAIL, 3), tape.ask(FAIL, 3), tape.ask(FILL, 3)], [1, 2, 0]);
        assert_eq!(tape.points(FAIL).collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn an_impossible_answer_is_friendly() {
        let mut tape = Tape::new([Deviation { kind: 1, ordinal: 0, answer: 7 }]);
        assert_eq!(tape.ask(FAIL, 2), 0);
    }
}
