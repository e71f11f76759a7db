//! Snapshots inside scripts: a run starts behind what it has in common with an earlier one.
//!
//! Two runs are the same up to a moment if they carried out the same commands and their tapes
//! answered alike: friendly, up to that moment. A deviation is behind it if as many questions of
//! its kind were not asked yet. Kinds that are never asked hold from the start (points, schedules),
//! so only kinds that some run of the machine was asked count.

use std::collections::{BTreeMap, BTreeSet};

use choice_tape::{Deviation, Tape};
use system::{Command, Machine, MachineSnapshot};

use crate::runner::Progress;

/// Prefixes that are kept; the one that was not used for longest goes.
const MOST_KEPT: usize = 6;

/// What many runs begin with.
#[derive(Debug)]
pub(crate) struct Prefix {
    commands: Vec<Command>,
    pub(crate) snapshot: MachineSnapshot,
    progress: Progress,
    /// Questions of each kind that were asked until then.
    pub(crate) asked: BTreeMap<u16, u32>,
}

/// Where a run begins.
pub(crate) struct Beginning {
    pub(crate) progress: Progress,
    /// Commands of the script that are carried out already.
    pub(crate) done: usize,
}

/// The prefixes of one machine, the latest used last.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    kept: Vec<Prefix>,
    /// Kinds of question that were ever asked.
    kinds: BTreeSet<u16>,
}

impl Prefix {
    pub(crate) fn beginning(&self) -> Beginning {
        Beginning { progress: self.progress.clone(), done: self.commands.len() }
    }
}

impl Prefixes {
    /// Takes note of what a run was asked.
    pub(crate) fn note_asked(&mut self, tape: &Tape) {
        self.kinds.extend(tape.asked_by_kind().keys());
    }

    /// The longest prefix that a run shares.
    pub(crate) fn longest(
        &mut self,
        commands: &[Command],
        deviations: &[Deviation],
    ) -> Option<&Prefix> {
        let is_shared = |prefix: &Prefix| {
            commands.starts_with(&prefix.commands) && self.are_behind(deviations, &prefix.asked)
        };
        let shared = self.kept.iter().enumerate().filter(|(_, prefix)| is_shared(prefix));
        let (index, _) = shared.max_by_key(|(_, prefix)| prefix.commands.len())?;
        let prefix = self.kept.remove(index);
        self.kept.push(prefix);
        self.kept.last()
    }

    /// Whether it pays to keep the moment behind these commands. The first command is what most
    /// scripts begin with; what deviates later comes many times in a row.
    pub(crate) fn wants(
        &self,
        commands: &[Command],
        deviations: &[Deviation],
        asked: &BTreeMap<u16, u32>,
    ) -> bool {
        (commands.len() == 1 || !deviations.is_empty())
            && self.are_behind(deviations, asked)
            && !self.kept.iter().any(|prefix| prefix.commands == commands)
    }

    /// Keeps the moment behind these commands.
    pub(crate) fn keep(
        &mut self,
        commands: &[Command],
        machine: &mut Machine,
        progress: &Progress,
    ) {
        if self.kept.len() >= MOST_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Prefix {
            commands: commands.to_vec(),
            asked: machine.tape().asked_by_kind().clone(),
            snapshot: machine.capture(),
            progress: progress.clone(),
        });
    }

    /// Whether all deviations answer questions that come later than these.
    fn are_behind(&self, deviations: &[Deviation], asked: &BTreeMap<u16, u32>) -> bool {
        deviations.iter().all(|deviation| {
            let count = asked.get(&deviation.kind).copied().unwrap_or(0);
            self.kinds.contains(&deviation.kind) && deviation.ordinal >= count
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use choice_tape::{ChoiceKind, Deviation, Tape};
    use system::{Command, FileRef};

    use super::Prefixes;

    const ASKED: ChoiceKind = ChoiceKind { number: 1, name: "asked" };

    fn deviation(kind: u16, ordinal: u32) -> Deviation {
        Deviation { kind, ordinal, answer: 1 }
    }

    /// A run was asked twice.
    fn prefixes() -> (Prefixes, BTreeMap<u16, u32>) {
        let (mut prefixes, mut tape) = (Prefixes::default(), Tape::default());
        assert_eq!([tape.ask(ASKED, 2), tape.ask(ASKED, 2)], [0, 0]);
        prefixes.note_asked(&tape);
        (prefixes, tape.asked_by_kind().clone())
    }

    #[test]
    fn only_answers_to_later_questions_share_a_beginning() {
        let (prefixes, asked) = prefixes();
        let rows: [(&[Deviation], bool); 5] = [
            (&[], true),
            (&[deviation(1, 2), deviation(1, 7)], true),
            (&[deviation(1, 1)], false),
            (&[deviation(1, 2), deviation(1, 0)], false),
            // A kind that is never asked holds from the start.
            (&[deviation(9, 5)], false),
        ];
        for (deviations, expected) in rows {
            assert_eq!(prefixes.are_behind(deviations, &asked), expected, "{deviations:?}");
        }
    }

    #[test]
    fn later_moments_are_kept_for_runs_that_deviate_behind_them() {
        let (prefixes, asked) = prefixes();
        let commands = [Command::Load, Command::Close { file: FileRef(1) }];
        let late = [deviation(1, 2)];
        assert!(prefixes.wants(&commands[..1], &[], &asked));
        assert!(prefixes.wants(&commands[..1], &late, &asked));
        assert!(!prefixes.wants(&commands[..1], &[deviation(1, 0)], &asked));
        assert!(!prefixes.wants(&commands, &[], &asked));
        assert!(prefixes.wants(&commands, &late, &asked));
    }
}
