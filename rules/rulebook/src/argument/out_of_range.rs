//! Arguments must lie in the documented range.

use events::{ArgumentOutOfRange, EventKind};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a routine that does not check an argument gets one outside of its documented
    /// range.
    pub static OUT_OF_RANGE = {
        id: "argument::out_of_range",
        severity: Severity::Violation,
        title: "argument outside of the documented range",
        explain: include_str!("out_of_range.md"),
        fix: "check the value against the documented range, and pass the very value that was \
            checked",
        windows: "the routine does not check: what follows is not documented, up to a corrupted \
            kernel structure",
        contract: &["ddi/wdm/nf-wdm-kesetprioritythread"],
        since: "0.1.0",
    }
}

/// Watches arguments that the kernel found out of range.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutOfRange;

impl Monitor for OutOfRange {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::ArgumentOutOfRange]
    }

    fn argument_out_of_range(
        &mut self,
        misuse: &ArgumentOutOfRange,
        at: Moment<'_>,
        out: &mut Findings,
    ) {
        let ArgumentOutOfRange { export, argument, value, min, max, .. } = *misuse;
        let message = format!("`{export}` gets {value} as `{argument}`, allowed is {min} to {max}");
        let finding = out.report(&OUT_OF_RANGE, message);
        describe::request_history(finding, at);
        finding.fact(format!("documented at ddi/{}", misuse.ddi));
    }
}
