//! The strict profile: runs with a neighbour that may be there although today it is not.
//!
//! They come behind all runs without one, so that what they show takes the neighbour. It is a
//! hazard at most: the driver works with the neighbours that it has.

use choice_tape::{ChoiceKind, Deviation};
use events::{
    FILTER_ABOVE, HANDLE_ELSEWHERE, LOWER_DRIVER, LOWER_DRIVERS, NEIGHBOURS, REQUEST_ELSEWHERE,
};
use verifier::{Rule, Severity};

use crate::{Campaign, batch::Spec, machines};

/// Which neighbours a campaign tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// None: the device stack as it is.
    #[default]
    Standard,
    /// Also those that may be there although today they are not.
    Strict,
}

impl Profile {
    /// The word in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Strict => "strict",
        }
    }

    /// The profile that a run belongs to.
    pub(crate) fn of_run(deviations: &[Deviation]) -> Self {
        match neighbours(deviations).is_empty() {
            true => Self::Standard,
            false => Self::Strict,
        }
    }
}

/// How often a neighbour is tried at other places of the same run.
const MOST_PLACES: u32 = 3;

/// The neighbours that a run has, and which of several each is.
fn neighbours(deviations: &[Deviation]) -> Vec<(ChoiceKind, u32)> {
    let (load, run) = machines::part(deviations);
    let kind_of = |d: &Deviation| {
        let kind = NEIGHBOURS.iter().find(|kind| kind.number == d.kind)?;
        Some((*kind, d.answer))
    };
    load.iter().chain(&run).filter_map(kind_of).collect()
}

/// How bad a broken rule is in a run.
pub(crate) fn severity(rule: &Rule, deviations: &[Deviation]) -> Severity {
    match Profile::of_run(deviations) {
        Profile::Standard => rule.severity,
        Profile::Strict => rule.severity.max(Severity::Hazard),
    }
}

/// The neighbours of a run in words, with the page that says that they may be there.
pub(crate) fn in_words(deviations: &[Deviation]) -> Vec<String> {
    let words = |(kind, answer)| match (kind, answer) {
        (FILTER_ABOVE, _) => {
            "with a filter attached above the device, which passes reads, writes and device \
            controls on from another process (kernel/dispatch-routines-and-irqls)"
        }
        (LOWER_DRIVER, 1) => {
            "with another driver below, which marks every request pending and completes it later, \
            from a DPC (ddi/wdm/nc-wdm-io_completion_routine)"
        }
        (LOWER_DRIVER, _) => {
            "with another driver below, which marks every request pending and completes it at \
            DISPATCH_LEVEL before `IoCallDriver` returns (ddi/wdm/nc-wdm-io_completion_routine)"
        }
        (HANDLE_ELSEWHERE, _) => {
            "with a duplicate of the handle in another process, which closes it last \
            (kernel/dispatchcleanup-routines)"
        }
        (REQUEST_ELSEWHERE, _) => {
            "with a duplicate of the handle in another process, from which this request comes \
            (kernel/dispatchcleanup-routines)"
        }
        _ => "with another driver or process beside it",
    };
    neighbours(deviations).into_iter().map(|neighbour| words(neighbour).to_owned()).collect()
}

/// What a neighbour can be like, but for not being there.
fn answers(kind: ChoiceKind) -> std::ops::Range<u32> {
    let options = if kind == LOWER_DRIVER { LOWER_DRIVERS } else { 2 };
    1..options
}

/// Every deviation at the first places where questions of these numbers were asked.
fn deviations(asked: &[u32]) -> Vec<Deviation> {
    let mut list = Vec::new();
    for (&kind, &asked) in NEIGHBOURS.iter().zip(asked) {
        for ordinal in 0..asked.min(MOST_PLACES) {
            let of_place = |answer| Deviation { kind: kind.number, ordinal, answer };
            list.extend(answers(kind).map(of_place));
        }
    }
    list
}

impl Campaign<'_> {
    /// Each script again with each neighbour.
    pub(crate) fn try_neighbours(&mut self) {
        let mut list = Vec::new();
        for deviation in deviations(&self.load_neighbours).into_iter().map(machines::of_load) {
            let scripts = self.neighbours_asked.keys();
            list.extend(scripts.map(|script| Spec::deviating(*script, deviation)));
        }
        for (script, asked) in &self.neighbours_asked {
            let deviations = deviations(asked).into_iter();
            list.extend(deviations.map(|deviation| Spec::deviating(*script, deviation)));
        }
        self.explore_batch(&list, |_, _| ());
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{FILTER_ABOVE, LOWER_DRIVER, NEIGHBOURS, POOL_FAILURE};
    use verifier::Severity;

    use super::{Profile, deviations, in_words, severity};
    use crate::machines::of_load;

    #[test]
    fn only_a_neighbour_makes_a_run_strict_and_its_findings_hazards() {
        let failure = Deviation { kind: POOL_FAILURE.number, ordinal: 0, answer: 1 };
        let filter = Deviation { kind: FILTER_ABOVE.number, ordinal: 0, answer: 1 };
        let rule = rulebook::find("memory::null_dereference").expect("there is such a rule");
        let lower = of_load(Deviation { kind: LOWER_DRIVER.number, ordinal: 1, answer: 2 });
        for (run, profile) in [
            (vec![], Profile::Standard),
            (vec![failure, of_load(failure)], Profile::Standard),
            (vec![failure, filter], Profile::Strict),
            (vec![lower], Profile::Strict),
        ] {
            assert_eq!(Profile::of_run(&run), profile, "{run:?}");
            let expected = match profile {
                Profile::Standard => Severity::Violation,
                Profile::Strict => Severity::Hazard,
            };
            assert_eq!(severity(rule, &run), expected, "{run:?}");
            assert_eq!(in_words(&run).is_empty(), profile == Profile::Standard, "{run:?}");
        }
    }

    #[test]
    fn each_neighbour_is_tried_at_its_first_places() {
        let mut asked = vec![0; NEIGHBOURS.len()];
        assert_eq!(deviations(&asked), []);
        asked[0] = 2;
        asked[1] = 9;
        let list = deviations(&asked);
        let count = |kind: u16| list.iter().filter(|d| d.kind == kind).count();
        assert_eq!((count(FILTER_ABOVE.number), count(LOWER_DRIVER.number)), (2, 6));
        assert!(list.iter().all(|d| d.answer != 0));
    }
}
