//! Makes a finding smaller: fewer deviations, fewer requests, lower answers, as long as the same
//! rule is broken at the same place.
//!
//! Answers of a random schedule are first written down as deviations, so that most of them can go.
//! What is tried depends on nothing but the run.

use std::collections::BTreeMap;

use choice_tape::Deviation;
use events::{
    FREE_INSTRUCTION, FreeMoment, LIST_PREEMPTIONS, LOCK_STEP, PRIORITY_SCHEDULE, RANDOM_SCHEDULE,
    SWITCH_AFTER, SWITCH_BEFORE, SWITCH_POINT, USER_BYTES_CHANGE,
};
use system::Command;
use verifier::RawFinding;
use workloads::Script;

use crate::{
    Campaign,
    confirm::RunId,
    deviations,
    machines::{self, Start},
    reduced,
    runner::RunResult,
};

/// Events of all runs that make one finding smaller.
const MOST_EVENTS: u64 = 20_000_000;
/// Deviations that are tried one by one; a token holds no more.
pub(crate) const MOST_DEVIATIONS: usize = 256;

/// Deviations that are also left out two at a time, whatever stands between them.
const MOST_IN_TWOS: usize = 16;

/// Kinds of deviations that stand for a whole schedule.
const SCHEDULES: [u16; 3] = [PRIORITY_SCHEDULE.number, RANDOM_SCHEDULE.number, LOCK_STEP.number];
/// Kinds whose deviations are found by comparing runs, and are few: only moves beside them may go.
const COMPARED: [u16; 4] =
    [SWITCH_POINT.number, SWITCH_BEFORE.number, SWITCH_AFTER.number, USER_BYTES_CHANGE.number];

/// A smaller run.
#[derive(Clone, Debug)]
pub(crate) struct Smaller {
    pub(crate) script: usize,
    pub(crate) deviations: Vec<Deviation>,
    pub(crate) raw: RawFinding,
    pub(crate) result: RunResult,
}

/// What a run is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// Requests left out.
    dropped: Vec<u32>,
    deviations: Vec<Deviation>,
}

struct Shrinker<'c, 'a> {
    campaign: &'c mut Campaign<'a>,
    /// The script of the plan, and its number.
    script: Script,
    number: usize,
    raw: RawFinding,
    runs_left: u32,
    events_left: u64,
    best: Candidate,
    /// Its run, if it is not the one that there was before.
    best_run: Option<(RawFinding, RunResult)>,
    /// How many questions of each kind were asked when each of its commands began.
    asked: Vec<BTreeMap<u16, u32>>,
}

impl Campaign<'_> {
    /// A smaller run with the same finding; `None` if there is none.
    pub(crate) fn shrink(
        &mut self,
        raw: &RawFinding,
        id: RunId<'_>,
        result: &RunResult,
    ) -> Result<Option<Smaller>, String> {
        let Some(script) = id.script.filter(|_| self.settings.shrink_runs > 0) else {
            return Ok(None);
        };
        let is_compared = id.deviations.iter().any(|d| COMPARED.contains(&d.kind));
        let Some(whole) = self.scripts.get(script).cloned() else { return Ok(None) };
        let best = Candidate { dropped: Vec::new(), deviations: id.deviations.to_vec() };
        let mut shrinker = Shrinker {
            runs_left: self.settings.shrink_runs,
            campaign: self,
            script: whole,
            number: script,
            raw: raw.clone(),
            events_left: MOST_EVENTS,
            best,
            best_run: None,
            asked: result.asked_at.clone(),
        };
        if !is_compared && !shrinker.write_down_chance(result)? {
            shrinker.drop_deviations()?;
        }
        if id.deviations.len() > 1 {
            shrinker.drop_moves()?;
        }
        if !is_compared {
            shrinker.drop_free_instructions()?;
            shrinker.drop_requests(result)?;
            shrinker.lower_answers()?;
        }
        let Shrinker { best, best_run, .. } = shrinker;
        let Some((raw, result)) = best_run else { return Ok(None) };
        let script = match best.dropped.is_empty() {
            true => Some(script),
            false => self.add_reduced(script, &best.dropped),
        };
        let smaller =
            script.map(|script| Smaller { script, deviations: best.deviations, raw, result });
        Ok(smaller)
    }
}

impl Shrinker<'_, '_> {
    /// Takes a candidate if it has the finding. `Err`: our bug.
    fn try_candidate(&mut self, candidate: Candidate) -> Result<bool, String> {
        let Some(result) = self.carry_out(&candidate)? else { return Ok(false) };
        let key = self.campaign.key(&self.raw);
        let found = result.findings.iter().find(|raw| self.campaign.key(raw) == key).cloned();
        let Some(raw) = found else { return Ok(false) };
        self.best = candidate;
        self.asked.clone_from(&result.asked_at);
        self.best_run = Some((raw, result));
        Ok(true)
    }

    /// The run of a candidate, if it can be paid for.
    fn carry_out(&mut self, candidate: &Candidate) -> Result<Option<RunResult>, String> {
        if self.runs_left == 0 || self.events_left == 0 {
            return Ok(None);
        }
        self.runs_left -= 1;
        let (load, run) = machines::part(&candidate.deviations);
        let start = Start { fill: self.campaign.conditions.fill, deviations: load };
        let script = reduced::without(&self.script, &candidate.dropped);
        let id = RunId { script: Some(self.number), deviations: &candidate.deviations };
        self.campaign.announce_without(id, &candidate.dropped);
        let common = (self.campaign.target, &self.campaign.conditions);
        let result = self.campaign.machines.run(common, start, &script, &run, None)?;
        self.campaign.tally.add_blocks(&result.blocks);
        self.events_left = self.events_left.saturating_sub(result.events);
        Ok(Some(result))
    }

    /// Leaves out free instructions at which nobody goes on: the questions behind get smaller
    /// numbers.
    fn drop_free_instructions(&mut self) -> Result<(), String> {
        let is_free = |d: &Deviation| d.kind == FREE_INSTRUCTION.number;
        let deviations = &self.best.deviations;
        if !deviations.iter().any(is_free) || deviations.iter().any(|d| SCHEDULES.contains(&d.kind))
        {
            return Ok(());
        }
        let mut listing = self.best.clone();
        let all = Deviation { kind: LIST_PREEMPTIONS.number, ordinal: 0, answer: 1 };
        listing.deviations.push(all);
        let Some(run) = self.carry_out(&listing)? else { return Ok(()) };
        let moments = run.ledgers.preemptions().iter();
        let instructions: Vec<(u16, u32, u32, bool)> = moments
            .filter(|(moment, _)| moment.moment == FreeMoment::BeforeInstruction)
            .filter_map(|(moment, origin)| {
                let rva = self.campaign.rva_of(origin.ip)?;
                Some((moment.kind, moment.ordinal, rva, moment.answer != 0))
            })
            .collect();
        let is_used = |rva: u32| instructions.iter().any(|(_, _, at, used)| *at == rva && *used);
        let mut candidate = self.best.clone();
        candidate.deviations.retain(|d| !is_free(d) || is_used(d.ordinal));
        for deviation in &mut candidate.deviations {
            let is_gone = |(kind, ordinal, rva, _): &&(u16, u32, u32, bool)| {
                *kind == deviation.kind && *ordinal < deviation.ordinal && !is_used(*rva)
            };
            let gone = u32::try_from(instructions.iter().filter(is_gone).count()).unwrap_or(0);
            deviation.ordinal -= gone;
        }
        self.try_candidate(candidate).map(drop)
    }

    /// Leaves out moves, the last first. A request that is granted is not made again: later ones of
    /// its kind may have smaller numbers then.
    fn drop_moves(&mut self) -> Result<(), String> {
        for index in (0..self.best.deviations.len()).rev() {
            let mut candidate = self.best.clone();
            let dropped = candidate.deviations.remove(index);
            if !deviations::is_move(dropped) || self.try_candidate(candidate.clone())? {
                continue;
            }
            let later = candidate.deviations.iter_mut();
            let later = later.filter(|d| d.kind == dropped.kind && d.ordinal > dropped.ordinal);
            if later.map(|d| d.ordinal -= 1).count() > 0 {
                self.try_candidate(candidate)?;
            }
        }
        Ok(())
    }

    /// Deviations instead of a schedule that chance made, as few as possible.
    fn write_down_chance(&mut self, result: &RunResult) -> Result<bool, String> {
        let is_schedule = |d: &Deviation| SCHEDULES.contains(&machines::plain(*d).kind);
        if !self.best.deviations.iter().any(is_schedule) || result.by_chance.is_empty() {
            return Ok(false);
        }
        let mut candidate = self.best.clone();
        candidate.deviations.retain(|deviation| !is_schedule(deviation));
        candidate.deviations.extend_from_slice(&result.by_chance);
        candidate.deviations.sort();
        let before = (self.best.clone(), self.best_run.clone(), self.asked.clone());
        if !self.try_candidate(candidate)? {
            return Ok(false);
        }
        self.drop_deviations()?;
        // A token must stay short: the schedule as it was is better than a long list.
        let is_short = self.best.deviations.len() <= MOST_DEVIATIONS;
        if !is_short {
            (self.best, self.best_run, self.asked) = before;
        }
        Ok(is_short)
    }

    /// Leaves out deviations: first many at a time, then one by one.
    fn drop_deviations(&mut self) -> Result<(), String> {
        // A run without any was made before and did not have the finding.
        let mut chunk = self.best.deviations.len() / 2;
        while chunk > 0 {
            let mut start = 0;
            let mut has_changed = false;
            while start < self.best.deviations.len() && self.runs_left > 0 {
                let mut candidate = self.best.clone();
                let end = (start + chunk).min(candidate.deviations.len());
                candidate.deviations.drain(start..end);
                match self.try_candidate(candidate)? {
                    true => has_changed = true,
                    false => start = end,
                }
            }
            chunk = if has_changed && chunk == 1 { 1 } else { chunk / 2 };
        }
        self.drop_two_deviations()
    }

    /// Leaves out two deviations at a time, those near each other first: one switch and the one
    /// that leads back need each other.
    fn drop_two_deviations(&mut self) -> Result<(), String> {
        let mut distance = 1;
        while distance < self.best.deviations.len() && self.best.deviations.len() <= MOST_IN_TWOS {
            let mut has_changed = false;
            let mut first = 0;
            while first + distance < self.best.deviations.len() && self.runs_left > 0 {
                let mut candidate = self.best.clone();
                candidate.deviations.remove(first + distance);
                candidate.deviations.remove(first);
                match self.try_candidate(candidate)? {
                    true => has_changed = true,
                    false => first += 1,
                }
            }
            distance = if has_changed { 1 } else { distance + 1 };
        }
        Ok(())
    }

    /// Leaves out requests, the last first.
    fn drop_requests(&mut self, result: &RunResult) -> Result<(), String> {
        let parts = self.script.commands.iter().flat_map(Command::parts);
        if parts.filter(|command| is_request(command)).count() < 2 {
            return Ok(());
        }
        let firsts = reduced::first_numbers(&self.script);
        let count = reduced::count(&self.script);
        // What comes after the finding is not carried out.
        let begun = result.asked_at.len();
        let end = firsts.get(begun).copied().unwrap_or(count);
        loop {
            let mut has_changed = false;
            for number in (0..end).rev() {
                if self.best.dropped.contains(&number) {
                    continue;
                }
                let mut candidate = self.best.clone();
                candidate.dropped.push(number);
                candidate.dropped.sort_unstable();
                self.renumber(&mut candidate, number);
                has_changed |= self.try_candidate(candidate)?;
            }
            if !has_changed || self.runs_left == 0 {
                return Ok(());
            }
        }
    }

    /// Questions that a command asked are asked no more: later ones get smaller numbers.
    fn renumber(&self, candidate: &mut Candidate, dropped: u32) {
        let kept = reduced::kept(&self.script, &self.best.dropped);
        let index = kept.iter().position(|numbers| numbers.contains(&dropped));
        let is_gone = |index: &usize| kept.get(*index).is_some_and(|numbers| numbers.len() == 1);
        // One of several requests that go together asks among the questions of the others.
        let Some(index) = index.filter(is_gone) else { return };
        let Some(start) = self.asked.get(index) else { return };
        let end = self.asked.get(index + 1);
        candidate.deviations.retain_mut(|deviation| {
            let at = |asked: &BTreeMap<u16, u32>| asked.get(&deviation.kind).copied().unwrap_or(0);
            let (first, end) = (at(start), end.map_or(u32::MAX, at));
            if deviation.kind >= machines::OF_LOAD || deviation.ordinal < first {
                return true;
            }
            if deviation.ordinal < end {
                return false;
            }
            deviation.ordinal -= end - first;
            true
        });
    }

    /// Tries smaller answers.
    fn lower_answers(&mut self) -> Result<(), String> {
        for index in 0..self.best.deviations.len() {
            while let Some(answer) = self.best.deviations.get(index).map(|d| d.answer) {
                let mut has_changed = false;
                for lower in [1, answer / 2] {
                    let mut candidate = self.best.clone();
                    let Some(deviation) = candidate.deviations.get_mut(index) else { break };
                    if lower == 0 || lower >= answer {
                        continue;
                    }
                    deviation.answer = lower;
                    if self.try_candidate(candidate)? {
                        has_changed = true;
                        break;
                    }
                }
                if !has_changed {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Whether a script has several steps with requests.
pub(crate) fn has_several_requests(script: &Script) -> bool {
    script.commands.iter().filter(|command| is_request(command)).count() > 1
}

fn is_request(command: &Command) -> bool {
    match command {
        Command::Read { .. }
        | Command::Write { .. }
        | Command::DeviceControl { .. }
        | Command::Other { .. }
        | Command::Together(_)
        | Command::Sequence(_) => true,
        Command::Load
        | Command::Unload
        | Command::Open { .. }
        | Command::OpenRelative { .. }
        | Command::Close { .. }
        | Command::Cancel { .. }
        | Command::Idle { .. }
        | Command::Interrupt { .. }
        | Command::Shutdown => false,
    }
}
