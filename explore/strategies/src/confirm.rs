//! Confirms what a run found, and repeats it with the recorder on.

use choice_tape::Deviation;
use events::{SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS, Seq};
use system::Command;
use verifier::{Confirmation, Context, Finding, RawFinding, Severity, Site, Step};
use workloads::MarkSet;

use crate::{
    Campaign, ReplayToken, request,
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
            (Confirmation::Repeats, _) | (_, None) => true,
            (Confirmation::FollowsOtherMarks, Some(script)) => {
                let other = self.run(script, MarkSet::Second, id.deviations)?;
                other
                    .findings
                    .iter()
                    .any(|f| f.rule == raw.rule && f.site_ip == raw.site_ip && f.marks == raw.marks)
            }
            (Confirmation::DiffersByTail { ordinal }, Some(script)) => {
                let mut differs = false;
                for answer in 1..SYSTEM_BUFFER_TAILS {
                    let mut deviations = id.deviations.to_vec();
                    let kind = SYSTEM_BUFFER_TAIL.number;
                    deviations.push(Deviation { kind, ordinal, answer });
                    let other = self.run(script, MarkSet::First, &deviations)?;
                    differs |= other.decisions != base.decisions;
                }
                differs
            }
        };
        if !is_confirmed {
            return Ok(None);
        }
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

    /// Carries out a run on a new machine and records the stacks of these moments.
    pub(crate) fn record(&self, id: RunId<'_>, mut moments: Vec<Seq>) -> Result<RunResult, String> {
        moments.sort_unstable();
        moments.dedup();
        runner::guarded(|| match runner::load(self.target, &self.conditions, moments) {
            LoadResult::Loaded(mut loaded) => match id.script.and_then(|i| self.scripts.get(i)) {
                Some(script) => Ok(loaded.run(script, id.deviations)),
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
        let history = raw
            .history
            .iter()
            .map(|step| Step { message: step.message.clone(), site: step.seq.map(site) })
            .collect();
        let script = id.script.and_then(|index| self.scripts.get(index));
        Finding {
            rule: raw.rule,
            message: raw.message.clone(),
            site: site(raw.site),
            context: Context {
                thread: raw.origin.thread.0,
                irql: raw.origin.irql,
                clock_events: raw.origin.clock_events,
                request: command.map(|command| request::in_words(command, script)),
            },
            history,
            replay: self.token(id).to_string(),
            run: (self.results.runs, self.planned_runs()),
        }
    }

    /// Names a run.
    pub(crate) fn token(&self, id: RunId<'_>) -> ReplayToken {
        ReplayToken {
            image: self.target.image_mark(),
            script: id.script.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
            seed: self.settings.seed,
            deviations: id.deviations.to_vec(),
        }
    }

    fn who_may_open(&self, id: RunId<'_>) -> Option<String> {
        let script = self.scripts.get(id.script?)?;
        request::who_may_open(&self.devices, script)
    }
}
