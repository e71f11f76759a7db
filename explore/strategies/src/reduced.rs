//! Scripts without some of their requests.
//!
//! Requests are numbered in the order in which they stand, each of those of several callers by
//! itself. The numbers stand in replay tokens.

use std::sync::Arc;

use system::Command;
use workloads::Script;

use crate::Campaign;

/// A script of the plan less some of its requests; it stands behind the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reduced {
    /// The script of the plan.
    pub(crate) original: usize,
    /// The requests that are left out, in ascending order.
    pub(crate) dropped: Vec<u32>,
}

/// How many requests there are.
pub(crate) fn count(script: &Script) -> u32 {
    let count: usize = script.commands.iter().map(width).sum();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn width(command: &Command) -> usize {
    command.parts().len()
}

/// The number of the first request of each command.
pub(crate) fn first_numbers(script: &Script) -> Vec<u32> {
    let mut next = 0;
    let mut list = Vec::new();
    for command in &script.commands {
        list.push(next);
        next += u32::try_from(width(command)).unwrap_or(u32::MAX);
    }
    list
}

/// The requests of each command of the script without these, by number.
pub(crate) fn kept(script: &Script, dropped: &[u32]) -> Vec<Vec<u32>> {
    let is_kept = |number: &u32| dropped.binary_search(number).is_err();
    let ends = first_numbers(script).into_iter().skip(1).chain([count(script)]);
    let ranges = first_numbers(script).into_iter().zip(ends);
    let numbers = ranges.map(|(first, end)| (first..end).filter(is_kept).collect::<Vec<_>>());
    numbers.filter(|numbers| !numbers.is_empty()).collect()
}

/// The script without these requests.
pub(crate) fn without(script: &Script, dropped: &[u32]) -> Script {
    let is_kept = |number: &u32| dropped.binary_search(number).is_err();
    let mut next = 0;
    let commands =
        script.commands.iter().filter_map(|command| kept_of(command, &mut next, &is_kept));
    let commands = commands.collect();
    Script { about: script.about.clone(), family: script.family, commands }
}

/// What is left of a command, whose first part has the next number.
fn kept_of(command: &Command, next: &mut u32, is_kept: &impl Fn(&u32) -> bool) -> Option<Command> {
    let mut of_list = |list: &[Command]| -> Vec<Command> {
        list.iter().filter_map(|command| kept_of(command, next, is_kept)).collect()
    };
    match command {
        Command::Together(list) => {
            Some(of_list(list)).filter(|list| !list.is_empty()).map(Command::Together)
        }
        Command::Sequence(list) => {
            Some(of_list(list)).filter(|list| !list.is_empty()).map(Command::Sequence)
        }
        single => {
            let number = *next;
            *next = next.saturating_add(1);
            is_kept(&number).then(|| single.clone())
        }
    }
}

impl Campaign<'_> {
    /// Puts a script less some of its requests behind the plan, and returns its number there;
    /// `None` if there are no such requests.
    pub(crate) fn add_reduced(&mut self, original: usize, dropped: &[u32]) -> Option<usize> {
        let first = self.scripts.get(original)?;
        let is_known = dropped.is_sorted_by(|a, b| a < b);
        if !is_known || dropped.last().is_some_and(|last| *last >= count(first)) {
            return None;
        }
        let reduced = Reduced { original, dropped: dropped.to_vec() };
        let known = self.reduced.iter().position(|other| *other == reduced);
        if let Some(known) = known {
            return Some(self.planned_scripts + known);
        }
        let first = without(first, dropped);
        let second = self.other_scripts.get(original).map(|script| without(script, dropped));
        Arc::make_mut(&mut self.scripts).push(first.clone());
        Arc::make_mut(&mut self.other_scripts).push(second.unwrap_or(first));
        self.reduced.push(reduced);
        Some(self.scripts.len() - 1)
    }

    /// The script of the plan that a script was made from, and what it lacks.
    pub(crate) fn origin_of(&self, script: usize) -> (usize, &[u32]) {
        let reduced = script.checked_sub(self.planned_scripts);
        match reduced.and_then(|index| self.reduced.get(index)) {
            Some(reduced) => (reduced.original, &reduced.dropped),
            None => (script, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use system::{Command, FileRef};
    use workloads::Script;

    use super::{count, first_numbers, kept, without};

    #[test]
    fn requests_that_go_together_count_by_themselves() {
        let cancel = |file| Command::Cancel { file: FileRef(file) };
        let together = Command::Together(vec![cancel(1), cancel(2)]);
        let commands = vec![cancel(0), together, Command::Unload];
        let script = Script { about: String::new(), family: "", commands };
        assert_eq!((count(&script), first_numbers(&script)), (4, vec![0, 1, 3]));
        let rest = without(&script, &[1, 3]);
        assert_eq!(rest.commands, [cancel(0), Command::Together(vec![cancel(2)])]);
        assert_eq!(without(&script, &[0, 1, 2]).commands, [Command::Unload]);
        assert_eq!(without(&script, &[]), script);
        assert_eq!(kept(&script, &[0, 2]), [vec![1], vec![3]]);
    }

    #[test]
    fn each_command_of_a_sequence_counts() {
        let cancel = |file| Command::Cancel { file: FileRef(file) };
        let sequence =
            |files: &[u32]| Command::Sequence(files.iter().map(|file| cancel(*file)).collect());
        let together = Command::Together(vec![sequence(&[1, 2]), sequence(&[3]), cancel(4)]);
        let commands = vec![cancel(0), together, Command::Unload];
        let script = Script { about: String::new(), family: "", commands };
        assert_eq!((count(&script), first_numbers(&script)), (6, vec![0, 1, 5]));
        let rest = without(&script, &[0, 1, 3]);
        let together = Command::Together(vec![sequence(&[2]), cancel(4)]);
        assert_eq!(rest.commands, [together, Command::Unload]);
        assert_eq!(kept(&script, &[0, 1, 3]), [vec![2, 4], vec![5]]);
    }
}
