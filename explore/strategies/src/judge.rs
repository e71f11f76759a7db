//! Judges runs: what of their findings is shown, and what else is told about how they ended.

use guest_memory::GuestAddr;
use system::Stopped;
use verifier::{Finding, RawFinding};

use crate::{Campaign, Unsupported, confirm::RunId, runner::RunResult, shrink::Smaller};

/// What makes two findings the same: the rule and the place.
pub(crate) type Key = (&'static str, GuestAddr, String);

/// How often a suspicion is followed up before it is dropped for good.
const MAX_ATTEMPTS: u32 = 3;

impl Campaign<'_> {
    /// Takes note of how a run ended, and follows up what its monitors said.
    pub(crate) fn judge(&mut self, result: &RunResult, id: RunId<'_>) -> Result<(), String> {
        self.tally.add_requests(&result.ledgers);
        let (last, first): (Vec<_>, Vec<_>) =
            result.findings.iter().partition(|raw| raw.is_last_resort);
        let mut confirmed = Vec::new();
        for raw in first {
            if self.follow_up(raw, id, result)? {
                confirmed.push(raw);
            }
        }
        let mut is_explained = !confirmed.is_empty();
        for raw in last {
            let explains = |other: &&RawFinding| other.explains(raw);
            is_explained =
                confirmed.iter().any(explains) || self.follow_up(raw, id, result)? || is_explained;
        }
        if let Some(stopped) = &result.stopped
            && !is_explained
        {
            self.note_stop(stopped, id);
        }
        Ok(())
    }

    /// Follows up what a monitor said; false if it is not confirmed.
    fn follow_up(
        &mut self,
        raw: &RawFinding,
        id: RunId<'_>,
        result: &RunResult,
    ) -> Result<bool, String> {
        let key = self.key(raw);
        if self.shown.contains(&key) {
            *self.seen.entry(key).or_default() += 1;
            return Ok(true);
        }
        // A function that touches the caller's memory carelessly does so at every touch.
        let function = self.function_of(raw, result);
        if function.is_some_and(|function| self.functions_shown.contains(&function)) {
            return Ok(true);
        }
        let attempts = self.attempts.entry(key).or_default();
        *attempts += 1;
        if *attempts > MAX_ATTEMPTS {
            return Ok(false);
        }
        let Some(finding) = self.confirm(raw, id, result)? else { return Ok(false) };
        let finding = self.smaller(raw, id, result).unwrap_or(finding);
        self.show(raw, finding);
        self.functions_shown.extend(function);
        Ok(true)
    }

    /// The same finding of a smaller run.
    fn smaller(&mut self, raw: &RawFinding, id: RunId<'_>, result: &RunResult) -> Option<Finding> {
        let tried = self.shrink(raw, id, result).and_then(|smaller| match smaller {
            Some(Smaller { script, deviations, raw, result }) => {
                let id = RunId { script: Some(script), deviations: &deviations };
                self.confirm(&raw, id, &result)
            }
            None => Ok(None),
        });
        tried.unwrap_or_else(|message| {
            self.internal_error(format!("when a finding was made smaller: {message}"), id);
            None
        })
    }

    fn function_of(
        &self,
        raw: &RawFinding,
        result: &RunResult,
    ) -> Option<(&'static str, u32, (u8, u32))> {
        if !raw.is_once_per_function {
            return None;
        }
        let rva = u32::try_from(raw.site_ip.0.wrapping_sub(self.image_base)).ok()?;
        let function = self.target.image.functions().lookup(rva)?;
        let irp = result.ledgers.current_irp(raw.origin.thread)?;
        let record = result.ledgers.irp(irp)?;
        Some((raw.rule.id, function.begin_rva, (record.major, record.control_code)))
    }

    /// Adds a finding, unless its like was shown before.
    pub(crate) fn show(&mut self, raw: &RawFinding, finding: Finding) {
        let key = self.key(raw);
        if self.shown.insert(key.clone()) {
            self.results.findings.push(finding);
            self.seen.insert(key.clone(), 1);
            self.finding_keys.push(key);
        }
    }

    pub(crate) fn key(&self, raw: &RawFinding) -> Key {
        let ip = raw.elsewhere.iter().fold(raw.site_ip, |first, at| first.min(*at));
        let message = if ip.is_null() { raw.message.clone() } else { String::new() };
        (raw.rule.id, GuestAddr(ip.0.wrapping_sub(self.image_base)), message)
    }

    pub(crate) fn note_stop(&mut self, stopped: &Stopped, id: RunId<'_>) {
        let replay = self.token(id).to_string();
        match stopped {
            Stopped::Violation => {}
            Stopped::BugCheck { code, .. } => {
                push_new(&mut self.results.bug_checks, format!("{code:#04X} (replay: {replay})"));
            }
            Stopped::Unsupported { feature } => {
                let known = self.results.unsupported.iter_mut().find(|u| u.feature == *feature);
                match known {
                    Some(known) => known.runs += 1,
                    None => {
                        let feature = feature.clone();
                        self.results.unsupported.push(Unsupported { feature, runs: 1, replay });
                    }
                }
            }
            Stopped::Limit { what } => {
                let text = format!("a run reached its bound of {what}");
                push_new(&mut self.results.limits, text);
            }
        }
    }
}

fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}
