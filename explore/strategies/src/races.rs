//! Forces two accesses that nothing orders into the order that hurts, and looks at what comes of
//! it.
//!
//! A first run shows which memory is shared, a second one which accesses to it nothing orders. For
//! each pair, runs follow in which one side is interrupted just before its access and the other
//! goes on. What breaks a rule there is found as what it is, with the race as its history if the
//! run without the switch does not break it; an update that is lost is judged by comparison with
//! both orders, forced by switches just before all of it and just after it.

mod lost;
mod torn;
mod update;

use choice_tape::Deviation;
use events::{DataRace, FIRST_CALLER, NO_SWITCH, RacingAccess, SWITCH_POINT, SharedKind};
use guest_memory::GuestAddr;
use rulebook::race::words;
use system::Command;
use verifier::{Arrival, RawFinding, RawStep, Rule};
use workloads::MarkSet;

use crate::{
    Campaign,
    confirm::RunId,
    runner::{RunResult, Watch},
};

/// Races followed up per script.
const MOST_RACES: usize = 12;
/// Runs per script; one race takes up to four, and two more for the proof.
const MOST_RUNS: u32 = 48;
/// Scripts in which a pair is followed up: the first that shows it need not let the two meet.
const MOST_SCRIPTS: u32 = 2;
/// At which arrivals at an instruction it is interrupted.
const ARRIVALS: [u32; 2] = [1, 2];

/// What two runs of a script without any switch show.
struct Shared {
    /// The pairs of accesses that nothing orders.
    races: Vec<DataRace>,
    /// The shared pages.
    pages: Vec<GuestAddr>,
    /// Who of several callers begins.
    order: Vec<Deviation>,
    /// What rules say all the same, and where.
    findings: Vec<(&'static Rule, GuestAddr)>,
}

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
        let orders = self.orders_of(script);
        let mut known = Vec::new();
        for order in &orders {
            let Some(mut shared) = self.races_of(script, order)? else { continue };
            let pair = |race: &DataRace| {
                let (a, b) = pair_of(race);
                (a.min(b), a.max(b))
            };
            shared.races.retain(|race| !known.contains(&pair(race)));
            known.extend(shared.races.iter().map(pair));
            // Whoever begins may hide from the others what nothing else orders; and who is over
            // before another one begins cannot be interrupted by him.
            let others = orders.iter().filter(|other| *other != order);
            for proven in [order].into_iter().chain(others) {
                shared.order.clone_from(proven);
                self.hunt_shown_races(script, &shared, only)?;
            }
        }
        Ok(())
    }

    /// The deviations by which one or another of several callers begins.
    fn orders_of(&self, script: usize) -> Vec<Vec<Deviation>> {
        let commands = self.scripts.get(script).map(|script| &script.commands);
        let mut together = commands.into_iter().flatten().filter_map(|command| match command {
            Command::Together(list) => Some(list.as_slice()),
            _ => None,
        });
        let mut orders = vec![Vec::new()];
        if let (Some([a, b, ..]), None) = (together.next(), together.next())
            && !is_alike(a, b)
            && !self.is_left_out(FIRST_CALLER.name)
        {
            orders.push(vec![Deviation { kind: FIRST_CALLER.number, ordinal: 0, answer: 1 }]);
        }
        orders
    }

    /// Forces the races that a script shows.
    fn hunt_shown_races(
        &mut self,
        script: usize,
        shared: &Shared,
        only: Option<&[Deviation]>,
    ) -> Result<(), String> {
        let order = shared.order.as_slice();
        self.hunt_torn_values(script, shared, only)?;
        let most_runs = self.results.runs.saturating_add(MOST_RUNS);
        for race in shared.races.iter().take(MOST_RACES) {
            let pair = pair_of(race);
            let tried = self.races_tried.entry((pair, order.is_empty())).or_default();
            *tried += 1;
            if only.is_none() && *tried > MOST_SCRIPTS {
                continue;
            }
            for attempt in attempts(race) {
                let update = update::of(self.target, self.image_base, attempt.delayed.ip);
                let read = update.map(|update| GuestAddr(update.read));
                let Some(deviations) = self.deviations_of(attempt, read, order) else { continue };
                if only.is_some_and(|only| only != deviations) {
                    continue;
                }
                let is_used_up = self.is_budget_used_up() || self.results.runs >= most_runs;
                if only.is_none() && is_used_up {
                    return Ok(());
                }
                let forced =
                    lost::Forced { script, attempt, deviations: &deviations, order, update };
                if self.try_attempt(&forced, shared)? {
                    self.races_tried.insert((pair, true), MOST_SCRIPTS);
                    self.races_tried.insert((pair, false), MOST_SCRIPTS);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether several lanes run the driver's code in a script.
    pub(crate) fn has_several_lanes(&self, script: usize, base: &RunResult) -> bool {
        let commands = self.scripts.get(script).map(|script| &script.commands);
        base.ledgers.has_company() || commands.is_some_and(|list| list.iter().any(is_of_several))
    }

    /// The pairs of accesses that nothing orders; `None` if there are none.
    fn races_of(&mut self, script: usize, order: &[Deviation]) -> Result<Option<Shared>, String> {
        let mut watch = Watch::default();
        self.results.runs += 1;
        let first = self.run_watched(script, MarkSet::First, order, Some(&watch))?;
        if first.watched.pages.is_empty() {
            return Ok(None);
        }
        watch.pages.clone_from(&first.watched.pages);
        self.results.runs += 1;
        let second = self.run_watched(script, MarkSet::First, order, Some(&watch))?;
        let races = second.ledgers.races().to_vec();
        let findings = second.findings.iter().map(|found| (found.rule, found.site_ip)).collect();
        let (order, pages) = (order.to_vec(), watch.pages);
        Ok((!races.is_empty()).then_some(Shared { races, pages, order, findings }))
    }

    /// The switch of an attempt; the other side is reported, and the read of the update.
    fn deviations_of(
        &self,
        attempt: Attempt,
        read: Option<GuestAddr>,
        order: &[Deviation],
    ) -> Option<Vec<Deviation>> {
        let kind = SWITCH_POINT.number;
        let ordinal = self.rva_of(attempt.delayed.ip)?;
        let mut list = order.to_vec();
        list.push(Deviation { kind, ordinal, answer: attempt.arrival });
        for reported in [Some(attempt.other.ip), read].into_iter().flatten() {
            let ordinal = self.rva_of(reported)?;
            if list.iter().all(|known| (known.kind, known.ordinal) != (kind, ordinal)) {
                list.push(Deviation { kind, ordinal, answer: NO_SWITCH });
            }
        }
        list.sort();
        Some(list)
    }

    pub(crate) fn rva_of(&self, ip: GuestAddr) -> Option<u32> {
        let rva = u32::try_from(ip.0.checked_sub(self.image_base)?).ok()?;
        (rva < self.target.image.image_bytes()).then_some(rva)
    }

    /// Makes the run in which one side is interrupted; says whether anything came of it.
    fn try_attempt(&mut self, forced: &lost::Forced<'_>, shared: &Shared) -> Result<bool, String> {
        let id = RunId { script: Some(forced.script), deviations: forced.deviations };
        let delayed = forced.attempt.delayed;
        let logged = Some((delayed.address, delayed.size_bytes.min(8)));
        let watch = Watch { pages: shared.pages.clone(), logged };
        self.results.runs += 1;
        let mut run =
            self.run_watched(forced.script, MarkSet::First, forced.deviations, Some(&watch))?;
        let points = run.ledgers.switch_points();
        let Some(switch) = points.iter().position(|arrival| arrival.point.is_switch) else {
            return Ok(false);
        };
        let points = points.get(switch..).unwrap_or_default().to_vec();
        if run.findings.is_empty() {
            return match self.lost_update(forced, &run, &watch)? {
                Some(raw) => self.show_race(id, &raw).map(|()| true),
                None => Ok(false),
            };
        }
        let history = switch_history(&points);
        let is_of_switch = |raw: &RawFinding| !shared.findings.contains(&(raw.rule, raw.site_ip));
        for raw in run.findings.iter_mut().filter(|raw| is_of_switch(raw)) {
            raw.history.splice(0..0, history.clone());
        }
        let before = self.results.findings.len();
        self.judge(&run, id)?;
        Ok(self.results.findings.len() > before)
    }

    /// Shows what several runs prove.
    fn show_race(&mut self, id: RunId<'_>, raw: &RawFinding) -> Result<(), String> {
        let moments = raw.history.iter().filter_map(|step| step.seq).chain([raw.site]);
        let recorded = self.record(id, moments.collect())?;
        let script = id.script.and_then(|index| self.scripts.get(index));
        let request = script.and_then(|s| s.commands.iter().find(|c| is_of_several(c))).cloned();
        let finding = self.finding(raw, id, &recorded, request.as_ref());
        self.show(raw, finding);
        Ok(())
    }
}

fn pair_of(race: &DataRace) -> (GuestAddr, GuestAddr) {
    (race.earlier.ip, race.later.ip)
}

/// Whether two callers do the same, each with a file of his own.
fn is_alike(a: &Command, b: &Command) -> bool {
    match (a, b) {
        (Command::Read { buffer: x, .. }, Command::Read { buffer: y, .. })
        | (Command::Write { buffer: x, .. }, Command::Write { buffer: y, .. }) => x == y,
        (
            Command::DeviceControl { code: x, input: x_input, .. },
            Command::DeviceControl { code: y, input: y_input, .. },
        ) => x == y && x_input == y_input,
        (Command::Sequence(x), Command::Sequence(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| is_alike(x, y))
        }
        (Command::Open { path: x, .. }, Command::Open { path: y, .. }) => x == y,
        (Command::Close { .. }, Command::Close { .. })
        | (Command::Cancel { .. }, Command::Cancel { .. }) => true,
        _ => false,
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

/// How a broken rule came about when one side of a race was interrupted; the first of the points
/// is where.
fn switch_history(points: &[Arrival]) -> Vec<RawStep> {
    let mut steps = Vec::new();
    let Some(first) = points.first() else { return steps };
    let (who, held) = (words::who(first.point.who), words::holding(&first.holds));
    let text = format!("{who} is interrupted here, {held}");
    steps.push(RawStep { seq: Some(first.origin.seq), message: text });
    if let Some(other) = points.iter().find(|other| other.point.who != first.point.who) {
        let (who, held) = (words::who(other.point.who), words::holding(&other.holds));
        let text = format!("meanwhile {who} touches the same memory, {held}");
        steps.push(RawStep { seq: Some(other.origin.seq), message: text });
    }
    steps
}
