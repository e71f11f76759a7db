//! The choice tape: the only source of every free answer in a run.
//!
//! Code that reaches a point where a real machine could behave in more than one way asks the tape.
//! The friendly answer is always 0. A tape holds only the *deviations* from it, keyed by the kind
//! of question and by how many questions of that kind came before, so that removing one deviation
//! shifts no other.
//!
//! A whole schedule may be a value too: [`Chance`], or [`Priorities`] over the lanes that a
//! question names.

mod priorities;

use std::collections::BTreeMap;
use std::fmt;

pub use priorities::Priorities;

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
    priorities: Option<Priorities>,
    /// What chance or priorities answered.
    by_chance: BTreeMap<(u16, u32), u32>,
}

/// A moment at which one of several lanes goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The first lane has taken a step, and may go on.
    Step,
    /// A turn is over.
    EndOfTurn,
}

/// Answers of chance that are remembered; a run with more is named by its seed alone.
const MOST_BY_CHANCE: usize = 1 << 16;

impl Tape {
    /// Builds a tape with these deviations and nothing asked yet.
    pub fn new(deviations: impl IntoIterator<Item = Deviation>) -> Self {
        let deviations = deviations.into_iter().map(|d| ((d.kind, d.ordinal), d.answer)).collect();
        Self { deviations, ..Self::default() }
    }

    /// Goes on where another tape stands, which asked these questions and had friendly answers.
    #[must_use]
    pub fn with_asked(self, asked: BTreeMap<u16, u32>) -> Self {
        Self { asked, ..self }
    }

    /// Lets chance answer the questions that no deviation answers.
    #[must_use]
    pub fn with_chance(self, chance: Chance) -> Self {
        Self { chance: Some(chance), ..self }
    }

    /// Lets priorities answer who goes on, where no deviation does.
    #[must_use]
    pub fn with_priorities(self, priorities: Priorities) -> Self {
        Self { priorities: Some(priorities), ..self }
    }

    /// Whether priorities say who goes on.
    pub fn has_priorities(&self) -> bool {
        self.priorities.is_some()
    }

    /// Answers a question of a schedule that is about no lane: a schedule by priority draws lots.
    pub fn ask_lot(&mut self, kind: ChoiceKind, options: u32) -> u32 {
        let ordinal = self.asked(kind);
        let answer = self.ask(kind, options);
        match &self.priorities {
            Some(priorities) if !self.deviations.contains_key(&(kind.number, ordinal)) => {
                priorities.lot(ordinal, options)
            }
            _ => answer,
        }
    }

    /// Answers which of these lanes goes on; the first is the friendly answer.
    pub fn ask_who(&mut self, kind: ChoiceKind, switch: Switch, lanes: &[u64]) -> u32 {
        let options = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        let ordinal = self.asked(kind);
        let answer = self.ask(kind, options);
        let is_given = self.deviations.contains_key(&(kind.number, ordinal));
        let Some(priorities) = &mut self.priorities else { return answer };
        let chosen = match switch {
            Switch::Step => {
                if let Some(&lane) = lanes.first() {
                    priorities.step(lane);
                }
                priorities.choose(lanes)
            }
            Switch::EndOfTurn => priorities.choose_at_end_of_turn(lanes),
        };
        if let Some(&next) = lanes.get(chosen) {
            priorities.note_chosen(next);
        }
        if is_given {
            return answer;
        }
        let answer = u32::try_from(chosen).unwrap_or(0);
        if answer == 0 {
            self.by_chance.remove(&(kind.number, ordinal));
        } else if self.by_chance.len() <= MOST_BY_CHANCE {
            self.by_chance.insert((kind.number, ordinal), answer);
        }
        answer
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
        let is_by_chance = answer.or(constant).is_none();
        let answer = answer.or(constant).unwrap_or_else(by_chance);
        if is_by_chance && answer != 0 && self.by_chance.len() <= MOST_BY_CHANCE {
            self.by_chance.insert((kind.number, ordinal), answer);
        }
        if answer < options { answer } else { 0 }
    }

    /// Lists what chance answered so far, as deviations that answer alike without it; `None` if
    /// that was too much to remember.
    pub fn by_chance(&self) -> Option<Vec<Deviation>> {
        let deviation = |(&(kind, ordinal), &answer)| Deviation { kind, ordinal, answer };
        let is_complete = self.by_chance.len() <= MOST_BY_CHANCE;
        is_complete.then(|| self.by_chance.iter().map(deviation).collect())
    }

    /// Lists how many questions of each kind were asked.
    pub fn asked_by_kind(&self) -> &BTreeMap<u16, u32> {
        &self.asked
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
    use super::{Chance, ChoiceKind, Deviation, Priorities, Switch, Tape};

    const FAIL: ChoiceKind = ChoiceKind { number: 1, name: "fail" };
    const FILL: ChoiceKind = ChoiceKind { number: 2, name: "fill" };

    #[test]
    fn deviations_are_found_by_kind_and_ordinal() {
        let mut tape = Tape::new([Deviation { kind: 1, ordinal: 1, answer: 1 }]);
        assert_eq!((tape.ask(FILL, 2), tape.ask(FAIL, 2), tape.ask(FAIL, 2)), (0, 0, 1));
        assert_eq!((tape.asked(FAIL), tape.asked(FILL)), (2, 1));
    }

    #[test]
    fn a_tape_goes_on_where_another_stands() {
        let deviation = Deviation { kind: 1, ordinal: 2, answer: 1 };
        let mut whole = Tape::new([deviation]);
        let answers = [whole.ask(FAIL, 2), whole.ask(FILL, 2), whole.ask(FAIL, 2)];
        assert_eq!(answers, [0, 0, 0]);
        let mut second = Tape::new([deviation]).with_asked(whole.asked_by_kind().clone());
        assert_eq!(second, whole);
        assert_eq!((second.ask(FAIL, 2), second.ask(FAIL, 2), second.asked(FILL)), (1, 0, 1));
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
        let mut by_chance = Tape::default().with_chance(chance);
        let _: Vec<u32> = (0..10_000).map(|_| by_chance.ask(FAIL, 3)).collect();
        let mut told = Tape::new(by_chance.by_chance().expect("it is little"));
        assert_eq!(first, (0..10_000).map(|_| told.ask(FAIL, 3)).collect::<Vec<_>>());
        assert_eq!(told.by_chance(), Some(Vec::new()));
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
    fn priorities_say_who_goes_on_unless_a_deviation_does() {
        let lanes = [10, 11, 12];
        let who = |tape: Tape| {
            let mut tape = tape.with_priorities(Priorities::new(5, 1, 1));
            [0; 3].map(|_| tape.ask_who(FAIL, Switch::Step, &lanes))
        };
        let [first, second, third] = who(Tape::default());
        assert_eq!((first, second), (second, third), "without a change the same goes on");
        let other = if first == 1 { 2 } else { 1 };
        let deviation = Deviation { kind: 1, ordinal: 1, answer: other };
        assert_eq!(who(Tape::new([deviation])), [first, other, first]);
        let mut friendly = Tape::default();
        assert_eq!(friendly.ask_who(FAIL, Switch::EndOfTurn, &lanes), 0);
        assert_eq!(friendly.asked(FAIL), 1);
        let lots = |tape: Tape| {
            let mut tape = tape.with_priorities(Priorities::new(5, 1, 1));
            [0; 40].map(|_| tape.ask_lot(FILL, 3))
        };
        let drawn = lots(Tape::default());
        assert!((0..3).all(|lot| drawn.contains(&lot)) && !drawn.contains(&3), "{drawn:?}");
        let other = (drawn[7] + 1) % 3;
        if other != 0 {
            let deviation = Deviation { kind: 2, ordinal: 7, answer: other };
            assert_eq!(lots(Tape::new([deviation]))[7], other);
        }
    }

    #[test]
    fn an_impossible_answer_is_friendly() {
        let mut tape = Tape::new([Deviation { kind: 1, ordinal: 0, answer: 7 }]);
        assert_eq!(tape.ask(FAIL, 2), 0);
    }
}
