//! Proves that a value is torn: by the run in which it is read between the writes of its parts, and
//! by both orders.

use std::collections::BTreeSet;

use choice_tape::Deviation;
use events::{
    DataRace, NO_SWITCH, RacingAccess, SWITCH_AFTER, SWITCH_BEFORE, SWITCH_POINT, SharedKind,
};
use guest_memory::{GuestAddr, Logged};
use rulebook::race::{
    torn_value::{self, Part, TORN_VALUE, Torn, When},
    words,
};
use verifier::{Findings, RawFinding};
use workloads::MarkSet;

use super::{Shared, update};
use crate::{
    Campaign,
    confirm::RunId,
    runner::{RunResult, Watch},
};

/// A value that is written in two parts.
#[derive(Clone, Copy)]
struct Suspect {
    at: GuestAddr,
    parts: Torn,
}

/// Bytes of the value, and of each part.
const WHOLE_BYTES: u32 = 8;
const HALF_BYTES: u64 = 4;

impl Campaign<'_> {
    /// Follows up values that are written in parts; with `only`, just the run with these
    /// deviations.
    pub(super) fn hunt_torn_values(
        &mut self,
        script: usize,
        shared: &Shared,
        only: Option<&[Deviation]>,
    ) -> Result<(), String> {
        for suspect in suspects(&shared.races) {
            let Torn { first, second, read } = suspect.parts;
            if !update::is_computed_with(self.target, self.image_base, GuestAddr(read)) {
                continue;
            }
            let between = self.switch((SWITCH_BEFORE.number, second), read, &shared.order);
            let before = self.switch((SWITCH_BEFORE.number, first), read, &shared.order);
            let after = self.switch((SWITCH_AFTER.number, second), read, &shared.order);
            let (Some(between), Some(before), Some(after)) = (between, before, after) else {
                continue;
            };
            let pair = (GuestAddr(second), GuestAddr(read));
            let is_first = shared.order.is_empty();
            let is_new = only.is_none() && self.torn_tried.insert((pair, is_first));
            if !(is_new || only.is_some_and(|only| only == between)) || self.is_budget_used_up() {
                continue;
            }
            let logged = Some((suspect.at, WHOLE_BYTES));
            let watch = Watch { pages: shared.pages.clone(), logged };
            let mut runs = Vec::new();
            for deviations in [&before, &between, &after] {
                self.results.runs += 1;
                let first = MarkSet::First;
                runs.push(self.run_watched(script, first, deviations, Some(&watch))?);
            }
            let [before, torn, after] = &runs[..] else { continue };
            if let Some(raw) = proof([before, torn, after], suspect.parts) {
                self.show_race(RunId { script: Some(script), deviations: &between }, &raw)?;
            }
        }
        Ok(())
    }

    /// The deviations of a run with one switch, in which the reads are reported.
    fn switch(
        &self,
        (kind, ip): (u16, u64),
        read: u64,
        order: &[Deviation],
    ) -> Option<Vec<Deviation>> {
        let (ordinal, read) = (self.rva_of(GuestAddr(ip))?, self.rva_of(GuestAddr(read))?);
        let reported = Deviation { kind: SWITCH_POINT.number, ordinal: read, answer: NO_SWITCH };
        let mut list = [order, &[Deviation { kind, ordinal, answer: 1 }, reported]].concat();
        list.sort();
        Some(list)
    }
}

/// The values that one side writes in halves and the other reads as a whole.
fn suspects(races: &[DataRace]) -> Vec<Suspect> {
    let sides =
        races.iter().flat_map(|race| [(race.earlier, race.later), (race.later, race.earlier)]);
    let is_of_half = |(store, load): &(RacingAccess, RacingAccess)| {
        store.kind == SharedKind::Store
            && load.kind == SharedKind::Load
            && u64::from(store.size_bytes) == HALF_BYTES
            && load.size_bytes == WHOLE_BYTES
    };
    let halves: Vec<(RacingAccess, RacingAccess)> = sides.filter(is_of_half).collect();
    let mut list = Vec::new();
    for (first, load) in &halves {
        let at = load.address;
        let second = halves.iter().find(|(second, other)| {
            other.ip == load.ip
                && other.address == at
                && second.address.0.abs_diff(first.address.0) == HALF_BYTES
                && second.ip.0 > first.ip.0
        });
        let is_inside = |half: GuestAddr| half == at || half == at.add(HALF_BYTES);
        let Some((second, _)) = second else { continue };
        if is_inside(first.address) && is_inside(second.address) && reads_only(races, load) {
            let parts = Torn { first: first.ip.0, second: second.ip.0, read: load.ip.0 };
            list.push(Suspect { at, parts });
        }
    }
    list
}

/// Whether this is the only memory that the reader reads without order: no version, no other half.
fn reads_only(races: &[DataRace], load: &RacingAccess) -> bool {
    let accesses = races.iter().flat_map(|race| [race.earlier, race.later]);
    let of_reader = accesses.filter(|access| access.who == load.who);
    let places: BTreeSet<(GuestAddr, GuestAddr)> =
        of_reader.map(|access| (access.ip, access.address)).collect();
    places.len() == 1
}

fn parts(run: &RunResult) -> Vec<Part> {
    let part = |logged: &Logged| Part {
        lane: logged.access.lane.0,
        touch: logged.access.touch,
        ip: logged.access.ip,
        before: logged.before,
    };
    run.watched.log.iter().map(part).collect()
}

/// The finding, if the runs in which the value is read before, between and after its writes show
/// that it was used torn.
fn proof(runs: [&RunResult; 3], torn: Torn) -> Option<RawFinding> {
    let logs = runs.map(parts);
    let is_whole = |run: &&RunResult| run.stopped.is_none() && run.findings.is_empty();
    let [before_log, between_log, after_log] = &logs;
    let is_alike = [before_log, after_log].iter().all(|log| log.len() == between_log.len());
    if !runs.iter().all(is_whole) || !is_alike {
        return None;
    }
    let before = torn_value::seen(before_log, torn, When::Before)?;
    let between = torn_value::seen(between_log, torn, When::Between)?;
    let after = torn_value::seen(after_log, torn, When::After)?;
    let [whole, used, later] = runs.map(|run| run.outcome);
    let is_used = used != whole && used != later;
    let is_refused = runs[1].last_status.is_some_and(|status| status.is_error());
    if !torn_value::is_torn(before, between, after) || !is_used || is_refused {
        return None;
    }
    let arrivals = runs[1].ledgers.switch_points();
    let switch = arrivals.iter().position(|arrival| arrival.point.is_switch)?;
    let (own, others) = arrivals.get(switch..)?.split_first()?;
    let read = others
        .iter()
        .find(|other| other.origin.ip.0 == torn.read && other.point.who != own.point.who)?;
    let mut findings = Findings::at(read.origin);
    let (who, held) = (words::who(read.point.who), words::holding(&read.holds));
    let message = format!("{who} reads {between:#x}, which is half old and half new, {held}");
    let finding = findings.report(&TORN_VALUE, message);
    let (who, held) = (words::who(own.point.who), words::holding(&own.holds));
    let text = format!("{who} is interrupted before it writes the second half here, {held}");
    finding.note(own.origin.seq, text);
    words::acquisitions(finding, &own.holds);
    finding.fact(format!("the whole value is {before:#x} before and {after:#x} after"));
    finding.fact("with either of them the requests are answered differently");
    Some(finding.clone())
}
