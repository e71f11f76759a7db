//! The n-th failure: each request of the driver that may fail does so once.
//!
//! A run is made for every new pair of call site and call stack, so that a helper which allocates
//! for many callers fails for each of them.

use choice_tape::Deviation;
use events::{CREATION_FAILURE, MAPPING_FAILURE, MayFail, Origin, POOL_FAILURE};
use guest_memory::GuestAddr;

use crate::{Campaign, machines, runner::RunResult};

/// What makes two requests the same: kind, call site, call stack.
pub(crate) type Place = (u16, GuestAddr, u64);

/// After a DriverEntry that went on in spite of a failure: the runs that are made then. The first
/// scripts of a plan are one of each kind.
const SCRIPTS_AFTER_LOAD: usize = 12;

/// A request in words, as the beginning of a sentence about the place where it is made.
pub(crate) fn in_words(failed: &MayFail) -> String {
    let number = u64::from(failed.ordinal) + 1;
    match failed.kind {
        kind if kind == POOL_FAILURE.number => {
            format!("allocation {number} fails here, as it may when memory is low")
        }
        kind if kind == CREATION_FAILURE.number => {
            format!("creation {number} fails here, as it may when resources are low")
        }
        kind if kind == MAPPING_FAILURE.number => {
            format!("mapping {number} fails here, as it may when page table entries are scarce")
        }
        _ => format!("request {number} fails here, as it may when resources are low"),
    }
}

impl Campaign<'_> {
    /// The runs in which a request of the script's own fails.
    pub(crate) fn try_failures(&mut self, script: usize, base: &RunResult) -> Result<(), String> {
        let of_script = base.ledgers.may_fail().iter().skip(self.load_requests.len());
        for point in of_script.copied().collect::<Vec<_>>() {
            let Some(deviation) = self.new_failure(&point) else { continue };
            if self.is_budget_used_up() {
                return Ok(());
            }
            self.explore_run(script, &[deviation])?;
        }
        Ok(())
    }

    /// The runs in which a request of DriverEntry fails.
    pub(crate) fn try_failures_of_load(&mut self) -> Result<(), String> {
        for point in self.load_requests.clone() {
            let Some(deviation) = self.new_failure(&point) else { continue };
            let deviations = [machines::of_load(deviation)];
            for script in 0..self.scripts.len().min(SCRIPTS_AFTER_LOAD) {
                if self.is_budget_used_up() {
                    return Ok(());
                }
                let result = self.explore_run(script, &deviations)?;
                // A driver that did not load runs no script, and one that broke a rule on the way
                // breaks it again.
                if result.ended_at_load {
                    break;
                }
            }
        }
        Ok(())
    }

    fn new_failure(&mut self, (asked, origin): &(MayFail, Origin)) -> Option<Deviation> {
        let place = (asked.kind, origin.ip, asked.stack);
        let is_new = !asked.has_failed && self.failures_tried.insert(place);
        let MayFail { kind, ordinal, .. } = *asked;
        is_new.then_some(Deviation { kind, ordinal, answer: 1 })
    }
}
