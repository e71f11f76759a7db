//! Drives threads that take locks in different orders into each other.
//!
//! That locks were taken in orders that form a circle is a hazard. In a further run each of the
//! routines is interrupted when it has its first lock, until another one has its own. If they wait
//! for each other then, that is what is shown, and the hazard is not.

use choice_tape::Deviation;
use events::{SWITCH_BEFORE, Seq};
use guest_memory::GuestAddr;
use rulebook::lock::{
    deadlock::DEADLOCK,
    order_cycle::{self, ORDER_CYCLE},
};
use verifier::RawFinding;
use workloads::MarkSet;

use crate::{Campaign, confirm::RunId, runner::RunResult};

/// Runs per circle and script.
const ARRIVALS: [u32; 2] = [1, 2];
/// Scripts in which a circle is followed up: not in each do its parts run side by side.
const MOST_SCRIPTS: u32 = 4;

/// What is known of a circle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circle {
    scripts: u32,
    is_proved: bool,
}

impl Campaign<'_> {
    /// Follows up the circles that a run showed.
    pub(crate) fn drive_into_deadlocks(
        &mut self,
        script: usize,
        base: &RunResult,
    ) -> Result<(), String> {
        let is_circle = |raw: &&RawFinding| raw.rule == &ORDER_CYCLE;
        for raw in base.findings.iter().filter(is_circle) {
            let Some(points) = self.first_locks(script, raw)? else { continue };
            let known = self.circles.entry(points.clone()).or_default();
            known.scripts += 1;
            let is_to_try = !known.is_proved && known.scripts <= MOST_SCRIPTS;
            if is_to_try && self.meets(script, &points)? {
                self.circles.insert(points.clone(), Circle { scripts: 0, is_proved: true });
            }
            if self.circles.get(&points).is_some_and(|circle| circle.is_proved) {
                self.forget_hazard(raw);
            }
        }
        Ok(())
    }

    /// Where those in a circle go on when they have their first lock: just behind the calls.
    fn first_locks(
        &self,
        script: usize,
        raw: &RawFinding,
    ) -> Result<Option<Vec<GuestAddr>>, String> {
        let moments = order_cycle::first_locks(raw);
        let id = RunId { script: Some(script), deviations: &[] };
        let recorded = self.record(id, moments.clone())?;
        let place = |seq: &Seq| {
            let mut found = recorded.recorded.iter().filter(|(origin, _)| origin.seq == *seq);
            found.find_map(|(origin, _)| origin.ip_is_return.then_some(origin.ip))
        };
        let places: Option<Vec<GuestAddr>> = moments.iter().map(place).collect();
        Ok(places.map(|mut places| {
            places.sort_unstable();
            places.dedup();
            places
        }))
    }

    /// Makes the runs in which each is interrupted; says whether they wait for each other.
    fn meets(&mut self, script: usize, points: &[GuestAddr]) -> Result<bool, String> {
        for arrival in ARRIVALS {
            if self.is_budget_used_up() {
                return Ok(false);
            }
            let deviation = |at: &GuestAddr| {
                let (kind, ordinal) = (SWITCH_BEFORE.number, self.rva_of(*at)?);
                Some(Deviation { kind, ordinal, answer: arrival })
            };
            let deviations: Option<Vec<Deviation>> = points.iter().map(deviation).collect();
            let Some(deviations) = deviations else { return Ok(false) };
            self.results.runs += 1;
            let run = self.run(script, MarkSet::First, &deviations)?;
            if run.findings.iter().any(|found| found.rule == &DEADLOCK) {
                let id = RunId { script: Some(script), deviations: &deviations };
                self.judge(&run, id)?;
                return Ok(self.results.findings.iter().any(|found| found.rule == &DEADLOCK));
            }
        }
        Ok(false)
    }

    /// What was proved is not shown as a hazard too.
    fn forget_hazard(&mut self, raw: &RawFinding) {
        let at = self.rva_of(raw.site_ip);
        self.results
            .findings
            .retain(|found| found.rule != &ORDER_CYCLE || found.site.rva != at || at.is_none());
    }
}
