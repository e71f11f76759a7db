//! One move at a time: for every question of an explorable kind that is asked at a new place, one
//! run with each other answer.
//!
//! A place is a call site and a call stack, so that a helper which allocates for many callers fails
//! for each of them. A new move is a row of [`MOVES`] and a question of the kernel. What comes of
//! several moves in one run is the business of `move_sets`.

use choice_tape::{ChoiceKind, Deviation};
use events::{
    CANCEL_HERE, CHOICE_KINDS, CREATION_FAILURE, MAPPING_FAILURE, NAME_TAKEN, Origin, POOL_FAILURE,
    Question, READ_ONLY_BUFFER, SUSPENSION, TIMER_EXPIRES, WAIT_TIMES_OUT,
};

use verifier::Place;

use crate::{Campaign, campaign::Base, machines, move_sets::MoveSet, runner::RunResult};

/// A kind of question whose other answers are tried.
struct Move {
    kind: ChoiceKind,
    /// At most so many of its answers are tried per place, from 1 on.
    answers: u32,
    /// Whether it means that something is short, which others will feel as well.
    is_shortage: bool,
    /// What happens, from how many questions of its kind there were with it and the answer.
    words: fn(u64, u32) -> String,
    /// The same at the place where it happens.
    here: Here,
}

/// How what happens is told at its place.
enum Here {
    /// These words follow those that tell it elsewhere.
    Behind(&'static str),
    /// These words alone; which of many moments it was says nothing there.
    Alone(&'static str),
}

const MOVES: &[Move] = &[
    Move {
        kind: POOL_FAILURE,
        answers: 1,
        is_shortage: true,
        words: |number, _| format!("allocation {number} fails"),
        here: Here::Behind("here, as it may when memory is low"),
    },
    Move {
        kind: MAPPING_FAILURE,
        answers: 1,
        is_shortage: true,
        words: |number, _| format!("mapping {number} fails"),
        here: Here::Behind("here, as it may when page table entries are scarce"),
    },
    Move {
        kind: CREATION_FAILURE,
        answers: 1,
        is_shortage: true,
        words: |number, _| format!("creation {number} fails"),
        here: Here::Behind("here, as it may when resources are low"),
    },
    Move {
        kind: NAME_TAKEN,
        answers: 1,
        is_shortage: false,
        words: |number, _| format!("somebody else has the name of named object {number} already"),
        here: Here::Behind("when it is created here"),
    },
    Move {
        kind: WAIT_TIMES_OUT,
        answers: 1,
        is_shortage: false,
        words: |number, _| format!("wait {number} times out before anything is signalled"),
        here: Here::Behind("here"),
    },
    Move {
        kind: TIMER_EXPIRES,
        answers: 2,
        is_shortage: false,
        words: |number, answer| {
            let dpc = if answer == 1 { "" } else { " and its DPC runs on another processor" };
            format!("at cancel or setting {number} the timer has just expired{dpc}")
        },
        here: Here::Behind("here"),
    },
    Move {
        kind: CANCEL_HERE,
        answers: 1,
        is_shortage: false,
        words: |number, _| {
            format!("the caller cancels the request at opportunity {number} to do so")
        },
        here: Here::Alone("the caller cancels the request here"),
    },
    Move {
        kind: READ_ONLY_BUFFER,
        answers: 1,
        is_shortage: false,
        words: |number, _| format!("buffer {number} is in pages that the caller may only read"),
        here: Here::Behind("here"),
    },
    Move {
        kind: SUSPENSION,
        answers: 1,
        is_shortage: false,
        words: |number, _| {
            format!("the caller's thread is suspended at opportunity {number} to do so")
        },
        here: Here::Alone("the caller's thread is suspended here, by another one of its process"),
    },
];

/// After a DriverEntry that went on in spite of a move: the runs that are made then. The first
/// scripts of a plan are one of each kind.
const SCRIPTS_AFTER_LOAD: usize = 12;

/// The names of all moves: kinds of choice, and families of scripts.
pub fn move_names() -> impl Iterator<Item = &'static str> {
    CHOICE_KINDS.iter().map(|kind| kind.name).chain(workloads::family_names())
}

/// The move of a kind of question, if it is one.
fn move_of(kind: u16) -> Option<&'static Move> {
    MOVES.iter().find(|known| known.kind.number == kind)
}

/// The name of the move that a deviation makes; empty if it is none.
pub(crate) fn name_of(deviation: Deviation) -> &'static str {
    move_of(deviation.kind).map_or("", |known| known.kind.name)
}

/// The deviations of a run but for moves that it never came to: without them it is the same.
pub(crate) fn met(deviations: &[Deviation], run: &RunResult) -> Vec<Deviation> {
    let is_met = |deviation: &&Deviation| {
        let count = run.asked.get(&deviation.kind).copied().unwrap_or(0);
        !is_move(**deviation) || deviation.ordinal < count
    };
    deviations.iter().filter(is_met).copied().collect()
}

/// Whether a deviation is a move, during DriverEntry or later.
pub(crate) fn is_move(deviation: Deviation) -> bool {
    move_of(machines::plain(deviation).kind).is_some()
}

/// What happens in words, if the deviation is a move.
pub(crate) fn in_words(deviation: Deviation) -> Option<String> {
    let Deviation { kind, ordinal, answer } = deviation;
    move_of(kind).map(|known| (known.words)(u64::from(ordinal) + 1, answer))
}

/// What happened where a question was asked, as the beginning of a sentence about that place.
pub(crate) fn in_words_here(question: &Question) -> Option<String> {
    let Question { kind, ordinal, answer, .. } = *question;
    let words = in_words(Deviation { kind, ordinal, answer })?;
    move_of(kind).map(|known| match known.here {
        Here::Behind(here) => format!("{words} {here}"),
        Here::Alone(here) => here.to_owned(),
    })
}

/// Whether a kind of question is about something that may be short.
pub(crate) fn is_shortage(kind: u16) -> bool {
    move_of(kind).is_some_and(|known| known.is_shortage)
}

/// The kinds of question about what may be short.
pub(crate) fn shortages() -> impl Iterator<Item = u16> {
    MOVES.iter().filter(|known| known.is_shortage).map(|known| known.kind.number)
}

impl Campaign<'_> {
    /// The runs in which a question of a script's own is answered otherwise.
    pub(crate) fn deviate(&mut self, bases: &[Base]) {
        let mut list = Vec::new();
        for (script, base) in bases {
            for asked in base.ledgers.questions().iter().skip(base.load.questions) {
                let deviations = self.new_deviations(asked).into_iter();
                let place = place_of(asked);
                list.extend(deviations.map(|d| MoveSet::of_one(*script, place, d)));
            }
        }
        self.explore_sets(list);
    }

    /// The runs in which a question of DriverEntry is answered otherwise.
    pub(crate) fn deviate_at_load(&mut self) {
        let mut list = Vec::new();
        for asked in self.load_questions.clone() {
            let deviations = self.new_deviations(&asked).into_iter().map(machines::of_load);
            let place = place_of(&asked);
            list.extend(deviations.map(|d| MoveSet::of_one(0, place, d)));
        }
        let loaded = self.explore_sets(list);
        // A driver that did not load runs no script, and one that broke a rule on the way breaks it
        // again.
        let list = loaded.iter().flat_map(|set| self.after_load(set)).collect();
        self.explore_sets(list);
    }

    /// The same moves of DriverEntry before other scripts.
    pub(crate) fn after_load(&self, set: &MoveSet) -> Vec<MoveSet> {
        let others = 1..self.planned_scripts.min(SCRIPTS_AFTER_LOAD);
        others.map(|script| set.before(script)).collect()
    }

    /// The other answers of a question that are tried, if it is a move.
    pub(crate) fn other_answers(&self, question: &Question) -> Vec<Deviation> {
        let Question { kind, ordinal, options, answer, .. } = *question;
        let Some(known) = move_of(kind).filter(|_| answer == 0) else { return Vec::new() };
        if self.is_left_out(known.kind.name) {
            return Vec::new();
        }
        let answers = 1..options.min(known.answers.saturating_add(1));
        answers.map(|answer| Deviation { kind, ordinal, answer }).collect()
    }

    /// The first other answer of a question that was answered kindly, if it is a move that other
    /// schedules are to come with. A suspension is a schedule itself.
    pub(crate) fn move_to_schedule(&self, question: &Question) -> Option<Deviation> {
        // The last answer is the one that differs most.
        let last = self.other_answers(question).pop();
        last.filter(|deviation| deviation.kind != SUSPENSION.number)
    }

    /// What is to be tried for a question at a place where none was before.
    fn new_deviations(&mut self, asked: &(Question, Origin)) -> Vec<Deviation> {
        let list = self.other_answers(&asked.0);
        if list.is_empty() || !self.places_tried.insert(place_of(asked)) {
            return Vec::new();
        }
        list
    }
}

/// Where a question was asked.
pub(crate) fn place_of((question, origin): &(Question, Origin)) -> Place {
    (question.kind, origin.ip, question.stack)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::{CHOICE_KINDS, Question};

    use super::{MOVES, in_words_here, move_names};

    /// The table of all moves, for people.
    const PAGE: &str = include_str!("../../../docs/moves.md");

    #[test]
    fn every_move_has_a_name_a_row_and_words() {
        let names: BTreeSet<&str> = move_names().collect();
        assert_eq!(names.len(), move_names().count());
        for name in names {
            assert!(PAGE.contains(&format!("`{name}`")), "docs/moves.md lacks `{name}`");
        }
        for known in MOVES {
            assert!(CHOICE_KINDS.contains(&known.kind), "{:?}", known.kind);
            assert!(known.answers > 0);
            let kind = known.kind.number;
            let question = Question { kind, ordinal: 6, options: 3, stack: 0, answer: 1 };
            let words = in_words_here(&question).expect("it is a move");
            assert!(words.contains("here") || words.contains("pages"), "{words}");
        }
        assert_eq!(MOVES.len(), MOVES.iter().map(|m| m.kind).collect::<BTreeSet<_>>().len());
    }
}
