//! Changes user memory between two fetches of the same bytes, and compares how the runs end.

use choice_tape::Deviation;
use events::{Seq, USER_BYTES_CHANGE, UserBytesChange};
use nt_abi::NtStatus;
use rulebook::user_buffer::fetched_twice::{self, Change, FETCHED_TWICE, Suspect};
use system::{Command, Stopped};
use verifier::{Findings, RawFinding, counted};
use workloads::MarkSet;

use crate::{Campaign, confirm::RunId, runner::RunResult};

impl Campaign<'_> {
    /// Tries every new suspect of a run; with `only`, just the change that this deviation makes.
    pub(crate) fn hunt_double_fetches(
        &mut self,
        script: usize,
        base: &RunResult,
        only: Option<Deviation>,
    ) -> Result<(), String> {
        for suspect in fetched_twice::suspects(&base.ledgers) {
            let places = (suspect.first.origin.ip, suspect.second.origin.ip);
            if only.is_none() && !self.suspects_tried.insert((places, request_of(base, &suspect))) {
                continue;
            }
            for change in fetched_twice::changes(&suspect) {
                let between = deviation(suspect.second.fetch.ordinal, change.between);
                if only.is_some_and(|only| between != Some(only)) {
                    continue;
                }
                if only.is_none() && self.is_budget_used_up() {
                    return Ok(());
                }
                if self.try_change(script, base, &suspect, change)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The command of a script that passes buffers.
    fn request_of(&self, script: usize) -> Option<Command> {
        let is_request = |command: &&Command| {
            matches!(
                command,
                Command::Read { .. } | Command::Write { .. } | Command::DeviceControl { .. }
            )
        };
        self.scripts.get(script)?.commands.iter().find(is_request).cloned()
    }

    fn try_change(
        &mut self,
        script: usize,
        base: &RunResult,
        suspect: &Suspect,
        change: Change,
    ) -> Result<bool, String> {
        let first = deviation(suspect.first.fetch.ordinal, change.from_the_start);
        let second = deviation(suspect.second.fetch.ordinal, change.between);
        let (Some(first), Some(second)) = (first, second) else { return Ok(false) };
        // Not judged: with nothing but new bytes a broken rule would be found as what it is.
        self.results.runs += 1;
        let between = self.run(script, MarkSet::First, &[second])?;
        if between.outcome == base.outcome || is_unknown(&between) || is_refused(&between, suspect)
        {
            return Ok(false);
        }
        let new = self.run(script, MarkSet::First, &[first])?;
        if is_unknown(&new)
            || !fetched_twice::is_proof(&base.outcome, &new.outcome, &between.outcome)
        {
            return Ok(false);
        }
        let deviations = [second];
        let id = RunId { script: Some(script), deviations: &deviations };
        let moments = vec![suspect.first.origin.seq, suspect.second.origin.seq];
        let recorded = self.record(id, moments)?;
        if recorded.outcome != between.outcome {
            return Err("a run with changed user memory did not repeat".to_owned());
        }
        let raw = raw_finding(suspect, change, [base, &new, &between]);
        let request = self.request_of(script);
        let finding = self.finding(&raw, id, &recorded, request.as_ref());
        self.show(&raw, finding);
        Ok(true)
    }
}

fn raw_finding(suspect: &Suspect, change: Change, ends: [&RunResult; 3]) -> RawFinding {
    let size_bytes = change.between.size_bytes;
    let (size, verb) = (counted(size_bytes, "byte"), if size_bytes == 1 { "is" } else { "are" });
    let message = format!("{size} of the caller's memory {verb} fetched again");
    let mut findings = Findings::at(suspect.second.origin);
    let finding = findings.report(&FETCHED_TWICE, message);
    let first: Seq = suspect.first.origin.seq;
    finding.note(first, "fetched here for the first time");
    let [old, new, between] = ends.map(|run| end_in_words(run, suspect));
    finding.fact(format!("with the old bytes the request {old}"));
    finding.fact(format!("with the new bytes from the start it {new}"));
    finding.fact(format!("with bytes that change between the two fetches it {between}"));
    finding.clone()
}

/// How the request of a suspect was completed; others may be made beside it.
fn status_of(run: &RunResult, suspect: &Suspect) -> Option<NtStatus> {
    let record = suspect.second.irp.and_then(|irp| run.ledgers.irp(irp));
    record.and_then(|record| record.completed).map(|(_, _, status)| status).or(run.last_status)
}

/// How a run ended, as the end of a sentence.
fn end_in_words(run: &RunResult, suspect: &Suspect) -> String {
    if let Some(finding) = run.findings.last() {
        return format!("breaks {} ({})", finding.rule.id, finding.message);
    }
    match (&run.stopped, status_of(run, suspect)) {
        (Some(Stopped::BugCheck { code, .. }), _) => format!("ends in bug check {code:#x}"),
        (_, Some(status)) => format!("ends with {status}, or with results of its own"),
        (_, None) => "does not end".to_owned(),
    }
}

/// A run in which the driver refused the request: it saw the change, and did no harm.
fn is_refused(run: &RunResult, suspect: &Suspect) -> bool {
    let is_error = status_of(run, suspect).is_some_and(|status| status.is_error());
    // A fault on the way, even a handled one, is harm: old and new bytes were mixed.
    let is_harmless = run.findings.is_empty() && !run.ledgers.has_faults();
    is_harmless && run.stopped.is_none() && is_error
}

/// A run that says nothing about the driver.
fn is_unknown(run: &RunResult) -> bool {
    matches!(run.stopped, Some(Stopped::Unsupported { .. } | Stopped::Limit { .. }))
}

fn deviation(ordinal: u32, change: UserBytesChange) -> Option<Deviation> {
    let answer = change.answer()?;
    Some(Deviation { kind: USER_BYTES_CHANGE.number, ordinal, answer })
}

/// The request of a suspect: the same code may treat another one differently.
fn request_of(base: &RunResult, suspect: &Suspect) -> (u8, u32) {
    let record = suspect.second.irp.and_then(|irp| base.ledgers.irp(irp));
    record.map_or((0, 0), |record| (record.major, record.control_code))
}
