//! Proves that an update is lost: by the run in which it is interrupted, and by both orders.
//!
//! Two more runs are forced by a switch just before all of the update and one just after it. They
//! must do what the interrupted run did, store by store, but for the order; and what the memory
//! holds in the end must differ from both.

use choice_tape::Deviation;
use events::{NO_SWITCH, SWITCH_AFTER, SWITCH_BEFORE, SWITCH_POINT};
use guest_memory::{GuestAddr, Logged};
use rulebook::race::{
    lost_update::{self, LOST_UPDATE, Order, Overwritten, Step, Update},
    words,
};
use verifier::{Arrival, Findings, RawFinding};
use workloads::MarkSet;

use super::Attempt;
use crate::{
    Campaign,
    runner::{RunResult, Watch},
};

/// A run in which an access is interrupted.
pub(super) struct Forced<'a> {
    pub(super) script: usize,
    pub(super) attempt: Attempt,
    pub(super) deviations: &'a [Deviation],
    /// Who of several callers begins.
    pub(super) order: &'a [Deviation],
    /// The update that the interrupted access is the write of, if it is one.
    pub(super) update: Option<Update>,
}

impl Campaign<'_> {
    /// Whether the update that was interrupted in this run is lost.
    pub(super) fn lost_update(
        &mut self,
        forced: &Forced<'_>,
        run: &RunResult,
        watch: &Watch,
    ) -> Result<Option<RawFinding>, String> {
        let Some(update) = forced.update else { return Ok(None) };
        let Some(mixed) = lost_update::overwritten(&steps(run), update, true) else {
            return Ok(None);
        };
        let arrivals = run.ledgers.switch_points();
        let Some(before) = arrival_at(arrivals, update) else { return Ok(None) };
        let after = (SWITCH_AFTER.number, update.write, forced.attempt.arrival);
        let before = (SWITCH_BEFORE.number, update.read, before);
        let mut ends = Vec::new();
        for (switch, order) in [(before, Order::OtherFirst), (after, Order::UpdateFirst)] {
            let Some(deviations) = self.serial(switch, mixed.other, forced.order) else {
                return Ok(None);
            };
            self.results.runs += 1;
            let serial =
                self.run_watched(forced.script, MarkSet::First, &deviations, Some(watch))?;
            let is_alike = serial.findings.is_empty() && serial.stopped.is_none();
            if !is_alike || !lost_update::is_serial(&steps(&serial), update, mixed, order) {
                return Ok(None);
            }
            ends.push(serial);
        }
        let [other_first, update_first] = &ends[..] else { return Ok(None) };
        if run.stopped.is_some() {
            return Ok(None);
        }
        let Some(values) = values([other_first, update_first, run], mixed) else {
            return Ok(None);
        };
        let [first, second, together] = values;
        let is_proof = lost_update::is_proof(first, second, together);
        Ok(is_proof.then(|| finding(arrivals, mixed, values)).flatten())
    }

    /// The deviations of a run with one switch, in which the arrivals at the other write are
    /// reported.
    fn serial(
        &self,
        (kind, ip, answer): (u16, u64, u32),
        other: u64,
        order: &[Deviation],
    ) -> Option<Vec<Deviation>> {
        let ordinal = self.rva_of(GuestAddr(ip))?;
        let mut list = order.to_vec();
        list.push(Deviation { kind, ordinal, answer });
        let other = self.rva_of(GuestAddr(other))?;
        if other != ordinal {
            let kind = SWITCH_POINT.number;
            list.push(Deviation { kind, ordinal: other, answer: NO_SWITCH });
        }
        list.sort();
        Some(list)
    }
}

/// The arrival at the read of the update that was interrupted: the latest one of its lane before
/// the switch.
fn arrival_at(arrivals: &[Arrival], update: Update) -> Option<u32> {
    let switch = arrivals.iter().position(|arrival| arrival.point.is_switch)?;
    let who = arrivals.get(switch)?.point.who;
    let is_read =
        |arrival: &&Arrival| arrival.origin.ip.0 == update.read && arrival.point.who == who;
    arrivals.get(..=switch)?.iter().rfind(is_read).map(|arrival| arrival.point.reached)
}

fn steps(run: &RunResult) -> Vec<Step> {
    let step = |logged: &Logged| Step {
        lane: logged.access.lane.0,
        touch: logged.access.touch,
        ip: logged.access.ip,
    };
    run.watched.log.iter().map(step).collect()
}

/// For each store of a run its instruction, and what the memory holds after it, if that is known.
fn stores(run: &RunResult) -> Vec<(u64, Option<u64>)> {
    let log = &run.watched.log;
    let after = |index: usize| match log.get(index + 1) {
        Some(next) => Some(next.before),
        None => run.watched.value,
    };
    let stores = steps(run).into_iter().enumerate().filter(|(_, step)| step.is_store());
    stores.map(|(index, step)| (step.ip, after(index))).collect()
}

/// What the memory holds in the end of three runs, the last of which is the interrupted one: after
/// the last store, or after the one before it if the memory is gone by then. `None` unless they
/// made the same stores.
fn values(runs: [&RunResult; 3], mixed: Overwritten) -> Option<[u64; 3]> {
    let stores = runs.map(stores);
    let [first, second, together] = &stores;
    if first.len() != together.len() || second.len() != together.len() {
        return None;
    }
    let mut last = together.len().checked_sub(1)?;
    let is_known = |index: usize| {
        stores.iter().all(|list| list.get(index).is_some_and(|(_, value)| value.is_some()))
    };
    if !is_known(last) {
        last = last.checked_sub(1)?;
    }
    let made = stores.each_ref().map(|list| {
        let mut ips: Vec<u64> = list.iter().take(last + 1).map(|(ip, _)| *ip).collect();
        ips.sort_unstable();
        ips
    });
    let [first_made, second_made, together_made] = &made;
    if mixed.store > last || first_made != together_made || second_made != together_made {
        return None;
    }
    let value = |list: &[(u64, Option<u64>)]| list.get(last).and_then(|(_, value)| *value);
    Some([value(first)?, value(second)?, value(together)?])
}

/// The switch is where the update is interrupted.
fn finding(arrivals: &[Arrival], mixed: Overwritten, values: [u64; 3]) -> Option<RawFinding> {
    let switch = arrivals.iter().position(|arrival| arrival.point.is_switch)?;
    let (own, later) = arrivals.get(switch..)?.split_first()?;
    let mut findings = Findings::at(own.origin);
    let who = words::who(own.point.who);
    let message = format!("{who} writes back what it read before another update");
    let finding = findings.report(&LOST_UPDATE, message);
    let held = words::holding(&own.holds);
    finding.fact(format!("it is interrupted after it read the value, {held}"));
    words::acquisitions(finding, &own.holds);
    let is_other = |arrival: &&Arrival| {
        arrival.origin.ip.0 == mixed.other && arrival.point.who != own.point.who
    };
    if let Some(other) = later.iter().find(is_other) {
        let (who, held) = (words::who(other.point.who), words::holding(&other.holds));
        finding.note(other.origin.seq, format!("meanwhile {who} updates it here, {held}"));
        words::acquisitions(finding, &other.holds);
    }
    let [first, second, together] = values;
    finding.fact(format!(
        "with the other update before this one the value ends as {first:#x}, with it after this \
         one as {second:#x}, and like this as {together:#x}"
    ));
    Some(finding.clone())
}
