//! A kernel routine must be called at its documented IRQL.

use events::{EventKind, LimitBroken};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver calls a kernel routine above or below the IRQL that its page documents.
    pub static EXPORT_ABOVE_LIMIT = {
        id: "irql::export_above_limit",
        severity: Severity::Violation,
        title: "kernel routine called at the wrong IRQL",
        explain: include_str!("export_above_limit.md"),
        fix: "call it at an allowed IRQL: before raising, after lowering, or from a work item",
        windows: "bug check 0xA or 0xD1 when memory is out or the routine waits; 0xC4 or 0x121 \
            under Driver Verifier",
        contract: &[
            "kernel/managing-hardware-priorities",
            "devtest/wdm-irqlkeapclte1",
            "devtest/wdm-irqlzwpassive",
        ],
        since: "0.1.0",
    }
}

/// Judges calls outside the documented IRQL of a routine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExportAboveLimit;

impl Monitor for ExportAboveLimit {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LimitBroken]
    }

    fn limit_broken(&mut self, broken: &LimitBroken, at: Moment<'_>, out: &mut Findings) {
        let irql = at.origin.irql;
        let (export, limit) = (broken.export, broken.limit);
        let allowed = if irql > limit.max {
            format!("at most {}", limit.max)
        } else {
            format!("at least {}", limit.min)
        };
        let message = format!("`{export}` called at {irql}; its page says {allowed}");
        let finding = out.report(&EXPORT_ABOVE_LIMIT, message);
        describe::irql_history(finding, at);
        finding.fact(format!("the limit of `{export}` is documented in ddi/{}", broken.ddi));
    }
}
