//! The machines of a campaign: the friendly one, and those that differ from it before the first
//! command, by what undefined memory holds or by answers that DriverEntry got.

use choice_tape::Deviation;
use workloads::Script;

use crate::{
    Target,
    runner::{self, Conditions, LoadResult, Loaded, RunResult, Watch},
};

/// Deviations of a kind from this number on are answers to DriverEntry's questions; the kind is
/// what is above it. Questions of DriverEntry are counted on their own.
pub(crate) const OF_LOAD: u16 = 0x100;

/// Makes a deviation one of DriverEntry.
pub(crate) fn of_load(deviation: Deviation) -> Deviation {
    Deviation { kind: deviation.kind.saturating_add(OF_LOAD), ..deviation }
}

/// The same deviation wherever it is made.
pub(crate) fn plain(deviation: Deviation) -> Deviation {
    let of_load = if deviation.kind >= OF_LOAD { OF_LOAD } else { 0 };
    Deviation { kind: deviation.kind - of_load, ..deviation }
}

/// Parts deviations into those of DriverEntry and those of what comes after it.
pub(crate) fn part(deviations: &[Deviation]) -> (Vec<Deviation>, Vec<Deviation>) {
    let (load, run): (Vec<Deviation>, Vec<Deviation>) =
        deviations.iter().partition(|deviation| deviation.kind >= OF_LOAD);
    (load.into_iter().map(plain).collect(), run)
}

/// What makes a machine before the first command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// What undefined memory holds.
    pub(crate) fill: u8,
    /// Deviations of DriverEntry.
    pub(crate) deviations: Vec<Deviation>,
}

/// Machines kept for the next run that begins alike.
const MAX_KEPT: usize = 4;

/// The machines at hand of one thread, the latest used last.
#[derive(Debug, Default)]
pub(crate) struct Machines(Vec<(Start, Box<Loaded>)>);

impl Machines {
    /// A run on the machine that began like this, made anew if there is none, as after a panic.
    pub(crate) fn run(
        &mut self,
        (target, conditions): (&Target, &Conditions),
        start: Start,
        script: &Script,
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> Result<RunResult, String> {
        let mut loaded = match self.take(&start) {
            Some(loaded) => loaded,
            None => match load(target, conditions, &start)? {
                LoadResult::Loaded(loaded) => loaded,
                LoadResult::Ended(result, _) => return Ok(*result),
                LoadResult::Refused(stopped) => {
                    return Err(format!("a machine is refused now: {stopped:?}"));
                }
            },
        };
        let result = runner::guarded(|| loaded.run_watched(script, deviations, watch))?;
        self.keep(start, loaded);
        Ok(result)
    }

    /// Puts one back for the next run; the one that was not used for longest may have to go.
    pub(crate) fn keep(&mut self, start: Start, loaded: Box<Loaded>) {
        self.0.push((start, loaded));
        if self.0.len() > MAX_KEPT {
            self.0.remove(0);
        }
    }

    fn take(&mut self, start: &Start) -> Option<Box<Loaded>> {
        let index = self.0.iter().position(|(other, _)| other == start)?;
        Some(self.0.remove(index).1)
    }
}

/// Makes a machine that begins like this.
pub(crate) fn load(
    target: &Target,
    conditions: &Conditions,
    start: &Start,
) -> Result<LoadResult, String> {
    let conditions = Conditions { fill: start.fill, ..conditions.clone() };
    runner::guarded(|| runner::load(target, &conditions, &start.deviations, Vec::new()))
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;

    use super::{of_load, part};

    #[test]
    fn deviations_of_driver_entry_are_told_apart() {
        let early = Deviation { kind: 3, ordinal: 2, answer: 1 };
        let late = Deviation { kind: 3, ordinal: 0, answer: 1 };
        assert_eq!(part(&[of_load(early), late]), (vec![early], vec![late]));
        assert_eq!(part(&[]), (Vec::new(), Vec::new()));
    }
}
