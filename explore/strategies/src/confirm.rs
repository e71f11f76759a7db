//! Confirms what a run found, and repeats it with the recorder on.

use choice_tape::Deviation;
use events::{SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS, Seq};
use guest_memory::GuestAddr;
use system::Command;
use verifier::{Confirmation, Context, Finding, RawFinding, Severity, Site, Step};
use workloads::MarkSet;

use crate::{
    Campaign, ReplayToken,
    campaign::Compared,
    history, machines, neighbours, request,
    runner::{self, LoadResult, RunResult},
    symbols,
};

/// Where a run came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunId<'a> {
    /// The script; `None` if DriverEntry did not return.
    pub(crate) script: Option<usize>,
    /// Its deviations.
    pub(crate) deviations: &'a [Deviation],
}

impl Campaign<'_> {
    /// Confirms a finding. `Ok(None)`: nothing came of the suspicion. `Err`: our bug.
    pub(crate) fn confirm(
        &mut self,
        raw: &RawFinding,
        id: RunId<'_>,
        base: &RunResult,
    ) -> Result<Option<Finding>, String> {
        let is_confirmed = match (raw.confirm, id.script) {
            (Confirmation::Repeats, _) => true,
            // DriverEntry did not survive, and not because of what is only suspected.
            (_, None) => false,
            (
                Confirmation::FollowsOtherMarks | Confirmation::FollowsOtherMarkBytes,
                Some(script),
            ) => {
                let is_byte = raw.confirm == Confirmation::FollowsOtherMarkBytes;
                let other = self.run(script, MarkSet::Second, id.deviations)?;
                // A byte may be that of several marks; those of one place follow in both runs.
                let follows = |marks: &[(u8, u32)]| marks.iter().any(|m| raw.marks.contains(m));
                other.findings.iter().any(|f| {
                    f.rule == raw.rule
                        && f.site_ip == raw.site_ip
                        && (!is_byte || f.site == raw.site)
                        && follows(&f.marks)
                })
            }
            (Confirmation::DiffersByTail { ordinal }, Some(script)) => {
                self.differs_by_tail((script, id.deviations), ordinal, base)?
            }
            (Confirmation::DiffersByFill, Some(script)) => {
                self.culprit_of_fill((script, id.deviations), base)? == Some(raw.origin.ip)
            }
        };
        if !is_confirmed {
            return Ok(None);
        }
        let raw = &history::with_deviations(raw, base);
        let moments = raw.history.iter().filter_map(|step| step.seq).chain([raw.site]);
        let recorded = self.record(id, moments.collect())?;
        let Some(index) = recorded.findings.iter().position(|f| f.repeats(raw)) else {
            return Err(format!("a finding of `{}` did not repeat", raw.rule.id));
        };
        let command = recorded.commands.get(index).cloned().flatten();
        let mut finding = self.finding(raw, id, &recorded, command.as_ref());
        if raw.rule.severity == Severity::Exposure
            && let Some(who) = self.who_may_open(id)
        {
            finding.history.push(Step { message: who, site: None });
        }
        Ok(Some(finding))
    }

    /// Whether runs that differ only in what lies behind the caller's input end differently.
    fn differs_by_tail(
        &mut self,
        (script, deviations): (usize, &[Deviation]),
        ordinal: u32,
        base: &RunResult,
    ) -> Result<bool, String> {
        let run = (script, deviations.to_vec());
        if let Some(known) = self.compared.as_ref()
            && known.run == run
            && known.tail == Some(ordinal)
        {
            return Ok(known.difference.is_some());
        }
        let mut differs = false;
        for answer in 1..SYSTEM_BUFFER_TAILS {
            let mut deviations = deviations.to_vec();
            let kind = SYSTEM_BUFFER_TAIL.number;
            deviations.push(Deviation { kind, ordinal, answer });
            let other = self.run(script, MarkSet::First, &deviations)?;
            differs |= other.decisions != base.decisions;
        }
        let difference = differs.then_some(None);
        self.compared = Some(Compared { run, tail: Some(ordinal), difference });
        Ok(differs)
    }

    /// The decision that makes runs with other bytes in undefined memory end differently.
    ///
    /// Up to it the runs go alike: it is the last decision that a run has in common with one that
    /// ends differently, after the same calls.
    fn culprit_of_fill(
        &mut self,
        (script, deviations): (usize, &[Deviation]),
        base: &RunResult,
    ) -> Result<Option<GuestAddr>, String> {
        let run = (script, deviations.to_vec());
        if let Some(known) = self.compared.as_ref()
            && known.run == run
            && known.tail.is_none()
        {
            return Ok(known.difference.flatten());
        }
        let fill = self.conditions.fill;
        let mut culprit = None;
        for other_fill in [!fill, if fill == 0 { 0x3c } else { 0 }] {
            let other = self.run_filled(script, other_fill, deviations)?;
            if other.decisions == base.decisions {
                continue;
            }
            let theirs = other.ledgers.undefined_decisions();
            let ours = base.ledgers.undefined_decisions();
            culprit = ours.iter().rev().find(|decision| theirs.contains(decision)).map(|d| d.0);
            break;
        }
        let difference = culprit.map(Some);
        self.compared = Some(Compared { run, tail: None, difference });
        Ok(culprit)
    }

    /// Carries out a run on a new machine and records the stacks of these moments.
    pub(crate) fn record(&self, id: RunId<'_>, mut moments: Vec<Seq>) -> Result<RunResult, String> {
        moments.sort_unstable();
        moments.dedup();
        let (load, run) = machines::part(id.deviations);
        self.announce(id.script, &load, &run);
        runner::guarded(|| match runner::load(self.target, &self.conditions, &load, moments) {
            LoadResult::Loaded(mut loaded) => match id.script.and_then(|i| self.scripts.get(i)) {
                Some(script) => Ok(loaded.run(script, &run)),
                None => Err("a machine that stopped in DriverEntry now goes on".to_owned()),
            },
            LoadResult::Ended(result, ..) => Ok(*result),
            LoadResult::Refused(stopped) => Err(format!("a machine is refused now: {stopped:?}")),
        })?
    }

    /// Gives a finding its places.
    pub(crate) fn finding(
        &self,
        raw: &RawFinding,
        id: RunId<'_>,
        recorded: &RunResult,
        command: Option<&Command>,
    ) -> Finding {
        let site = |seq: Seq| -> Site {
            let found = recorded.recorded.iter().find(|(origin, _)| origin.seq == seq);
            match found {
                Some((origin, stack)) => symbols::site(self.target, self.image_base, origin, stack),
                None => Site { image: self.target.name.clone(), ..Site::default() },
            }
        };
        let neighbours = neighbours::in_words(id.deviations).into_iter();
        let neighbours = neighbours.map(|message| Step { message, site: None });
        let history = raw
            .history
            .iter()
            .map(|step| Step { message: step.message.clone(), site: step.seq.map(site) });
        let script = id.script.and_then(|index| self.scripts.get(index));
        let family = script.and_then(request::family_in_words).into_iter();
        let history = family.chain(neighbours).chain(history).collect();
        Finding {
            rule: raw.rule,
            severity: neighbours::severity(raw.rule, id.deviations),
            message: raw.message.clone(),
            site: site(raw.site),
            context: Context {
                thread: raw.origin.thread.0,
                irql: raw.origin.irql,
                clock_events: raw.origin.clock_events,
                request: command.map(|command| request::in_words(command, script)),
            },
            history,
            needs: self.needs(id, recorded),
            replay: self.token(id).to_string(),
            seen: (1, 1),
            run: (self.results.runs, self.planned_runs()),
        }
    }

    /// Names a run.
    pub(crate) fn token(&self, id: RunId<'_>) -> ReplayToken {
        let script = id.script.map(|index| self.origin_of(index));
        ReplayToken {
            processors: self.settings.processors,
            image: self.target.image_mark(),
            script: script.map_or(0, |(original, _)| self.script_number(original)),
            seed: self.settings.seed,
            deviations: id.deviations.to_vec(),
            dropped: script.map(|(_, dropped)| dropped.to_vec()).unwrap_or_default(),
        }
    }

    fn who_may_open(&self, id: RunId<'_>) -> Option<String> {
        let script = self.scripts.get(id.script?)?;
        request::who_may_open(&self.devices, script)
    }
}
