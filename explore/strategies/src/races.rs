//! Forces two accesses that nothing orders into the order that hurts, and looks at what comes of
//! it.
//!
//! A first run shows which memory is shared, a second one which accesses to it nothing orders. For
//! each pair, runs follow in which one side is interrupted just before its access and the other
//! goes on. What breaks a rule there is found as what it is, with the race as its history; an
//! update that is lost is judged by comparison with both orders, one request after the other.

mod update;

use choice_tape::Deviation;
use events::{DataRace, NO_SWITCH, RacingAccess, SWITCH_POINT, SharedKind, SwitchPoint, Who};
use guest_memory::GuestAddr;
use rulebook::race::lost_update::{self, LOST_UPDATE, Step};
use system::Command;
use verifier::{Findings, RawFinding, RawStep};
use workloads::MarkSet;

use crate::{
    Campaign,
    confirm::RunId,
    runner::{Callers, RunResult, Watch},
};

/// Races followed up per script; each costs up to eight runs.
const MOST_RACES: usize = 12;
/// At which arrivals at an instruction it is interrupted.
const ARRIVALS: [u32; 2] = [1, 2];

/// The pairs of accesses that nothing orders, and the shared pages.
type Found = (Vec<DataRace>, Vec<GuestAddr>);

/// One way to force a pair of accesses.
#[derive(Clone, Copy)]
struct Attempt {
    /// The access that is interrupted.
    delayed: RacingAccess,
    /// The other one.
    other: RacingAccess,
    /// Where it is interrupted.
    arrival: u32,
}

impl Campaign<'_> {
    /// Looks for races in a script; with `only`, just the run with these deviations.
    pub(crate) fn hunt_races(
        &mut self,
        script: usize,
        only: Option<&[Deviation]>,
    ) -> Result<(), String> {
        let found = self.scripts.get(script);
        if !found.is_some_and(|script| script.commands.iter().any(is_of_several)) {
            return Ok(());
        }
        let Some((races, pages)) = self.races_of(script)? else { return Ok(()) };
        for race in races.iter().take(MOST_RACES) {
            let pair = (race.earlier.ip, race.later.ip);
            if only.is_none() && !self.races_tried.insert(pair) {
                continue;
            }
            for attempt in attempts(race) {
                let Some(deviations) = self.deviations_of(attempt) else { continue };
                if only.is_some_and(|only| only != deviations) {
                    continue;
                }
                if only.is_none() && self.is_budget_used_up() {
                    return Ok(());
                }
                if self.try_attempt(script, attempt, &deviations, &pages)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The pairs of accesses that nothing orders, and the shared pages; `None` if there are none.
    fn races_of(&mut self, script: usize) -> Result<Option<Found>, String> {
        let mut watch = Watch::default();
        self.results.runs += 1;
        let first = self.run_watched(script, MarkSet::First, &[], Some(&watch))?;
        if first.watched.pages.is_empty() {
            return Ok(None);
        }
        watch.pages.clone_from(&first.watched.pages);
        self.results.runs += 1;
        let second = self.run_watched(script, MarkSet::First, &[], Some(&watch))?;
        let races = second.ledgers.races().to_vec();
        Ok((!races.is_empty()).then_some((races, watch.pages)))
    }

    fn deviations_of(&self, attempt: Attempt) -> Option<Vec<Deviation>> {
        let kind = SWITCH_POINT.number;
        let ordinal = self.rva_of(attempt.delayed.ip)?;
        let mut list = vec![Deviation { kind, ordinal, answer: attempt.arrival }];
        let other = self.rva_of(attempt.other.ip)?;
        if other != ordinal {
            list.push(Deviation { kind, ordinal: other, answer: NO_SWITCH });
        }
        list.sort();
        Some(list)
    }

    fn rva_of(&self, ip: GuestAddr) -> Option<u32> {
        let rva = u32::try_from(ip.0.checked_sub(self.image_base)?).ok()?;
        (rva < self.target.image.image_bytes()).then_some(rva)
    }

    /// Makes the run in which one side is interrupted; says whether anything came of it.
    fn try_attempt(
        &mut self,
        script: usize,
        attempt: Attempt,
        deviations: &[Deviation],
        pages: &[GuestAddr],
    ) -> Result<bool, String> {
        let id = RunId { script: Some(script), deviations };
        let logged = Some((attempt.delayed.address, attempt.delayed.size_bytes.min(8)));
        let mut watch = Watch { callers: Callers::Together, pages: pages.to_vec(), logged };
        self.results.runs += 1;
        let mut run = self.run_watched(script, MarkSet::First, deviations, Some(&watch))?;
        let points = run.ledgers.switch_points();
        let Some(switch) = points.iter().position(|(_, point)| point.is_switch) else {
            return Ok(false);
        };
        let points = points.get(switch..).unwrap_or_default().to_vec();
        if !run.findings.is_empty() {
            let history = switch_history(&points);
            for raw in &mut run.findings {
                raw.history.splice(0..0, history.clone());
            }
            let before = self.results.findings.len();
            self.judge(&run, id)?;
            return Ok(self.results.findings.len() > before);
        }
        let Some(update) = update::of(self.target, self.image_base, attempt.delayed.ip) else {
            return Ok(false);
        };
        let Some(other) = lost_update::overwritten(&steps(&run), update) else {
            return Ok(false);
        };
        let mut ends = Vec::new();
        for callers in [Callers::InOrder, Callers::Reversed] {
            watch.callers = callers;
            self.results.runs += 1;
            ends.push(self.run_watched(script, MarkSet::First, &[], Some(&watch))?);
        }
        let [in_order, reversed] = &ends[..] else { return Ok(false) };
        let is_clean = |run: &&RunResult| run.stopped.is_none() && stores(run) == stores(in_order);
        if ![&run, in_order, reversed].iter().all(is_clean) {
            return Ok(false);
        }
        let values = [in_order, reversed, &run].map(|run| run.watched.value);
        let [Some(first), Some(second), Some(together)] = values else { return Ok(false) };
        if !lost_update::is_proof(first, second, together) {
            return Ok(false);
        }
        match lost(&points, other, [first, second, together]) {
            Some(raw) => self.show_lost(id, &raw),
            None => Ok(false),
        }
    }

    fn show_lost(&mut self, id: RunId<'_>, raw: &RawFinding) -> Result<bool, String> {
        let moments = raw.history.iter().filter_map(|step| step.seq).chain([raw.site]);
        let recorded = self.record(id, moments.collect())?;
        let script = id.script.and_then(|index| self.scripts.get(index));
        let request = script.and_then(|s| s.commands.iter().find(|c| is_of_several(c))).cloned();
        let finding = self.finding(raw, id, &recorded, request.as_ref());
        self.show(raw, finding);
        Ok(true)
    }
}

fn is_of_several(command: &Command) -> bool {
    matches!(command, Command::Together(_))
}

/// The ways to force a pair: each side may be the one that is interrupted.
fn attempts(race: &DataRace) -> Vec<Attempt> {
    let mut list = Vec::new();
    let pairs = [(race.later, race.earlier), (race.earlier, race.later)];
    for (index, (delayed, other)) in pairs.into_iter().enumerate() {
        // An interlocked instruction cannot be split, and before it there is nothing to mix up.
        if delayed.kind == SharedKind::Interlocked || (index == 1 && delayed.ip == other.ip) {
            continue;
        }
        list.extend(ARRIVALS.map(|arrival| Attempt { delayed, other, arrival }));
    }
    list
}

fn steps(run: &RunResult) -> Vec<Step> {
    let step = |logged: &guest_memory::Logged| Step {
        lane: logged.access.lane.0,
        touch: logged.access.touch,
        ip: logged.access.ip,
    };
    run.watched.log.iter().map(step).collect()
}

fn stores(run: &RunResult) -> usize {
    steps(run).iter().filter(|step| step.touch != happens_before::Touch::Load).count()
}

fn who(who: Who) -> String {
    match who {
        Who::Dpcs(processor) => format!("a DPC on processor {processor}"),
        Who::Interrupts(processor) => format!("an interrupt of processor {processor}"),
        Who::Thread(thread) => format!("thread {}", thread.0),
    }
}

fn held(point: &SwitchPoint) -> &'static str {
    if point.holds.is_empty() { "holding no spin lock" } else { "holding a spin lock" }
}

type Points = [(events::Origin, SwitchPoint)];

/// How a broken rule came about when one side of a race was interrupted.
fn switch_history(points: &Points) -> Vec<RawStep> {
    let mut steps = Vec::new();
    let Some((origin, point)) = points.first() else { return steps };
    let text = format!("{} is interrupted here, {}", who(point.who), held(point));
    steps.push(RawStep { seq: Some(origin.seq), message: text });
    let other = points.iter().find(|(_, other)| other.who != point.who);
    if let Some((origin, other)) = other {
        let text = format!("meanwhile {} touches the same memory, {}", who(other.who), held(other));
        steps.push(RawStep { seq: Some(origin.seq), message: text });
    }
    steps
}

/// The first of the points is where the update is interrupted.
fn lost(points: &Points, other: u64, values: [u64; 3]) -> Option<RawFinding> {
    let (origin, point) = points.first()?;
    let mut findings = Findings::at(*origin);
    let message = format!("{} writes back what it read before another update", who(point.who));
    let finding = findings.report(&LOST_UPDATE, message);
    let text = format!("it is interrupted after it read the value, {}", held(point));
    finding.fact(text);
    let meanwhile = points
        .iter()
        .skip(1)
        .find(|(origin, other_point)| origin.ip.0 == other && other_point.who != point.who);
    if let Some((origin, other)) = meanwhile {
        let text = format!("meanwhile {} updates it here, {}", who(other.who), held(other));
        finding.note(origin.seq, text);
    }
    for (_, seq) in &point.holds {
        finding.note(*seq, "its spin lock was acquired here");
    }
    let [first, second, together] = values;
    finding.fact(format!(
        "one request after the other the value ends as {first:#x}, in the other order as \
         {second:#x}, and like this as {together:#x}"
    ));
    Some(finding.clone())
}
