//! Lowering the IRQL must not raise it.

use events::{EventKind, IrqlMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when `KeLowerIrql` is called with a level above the current one.
    pub static LOWER_RAISES = {
        id: "irql::lower_raises",
        severity: Severity::Violation,
        title: "lowering to a higher IRQL",
        explain: include_str!("lower_raises.md"),
        fix: "lower only to the level that the raise returned",
        windows: "bug check 0xA, as the page of the routine says: a system crash",
        contract: &[
            "ddi/wdm/nf-wdm-kelowerirql",
            "kernel/managing-hardware-priorities",
        ],
        since: "0.1.0",
    }
}

/// Judges lowering.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LowerRaises;

impl Monitor for LowerRaises {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrqlMisuse]
    }

    fn irql_misuse(&mut self, misuse: &IrqlMisuse, at: Moment<'_>, out: &mut Findings) {
        if misuse.to < misuse.from {
            return;
        }
        let (from, to) = (misuse.from, misuse.to);
        let message = format!("the IRQL is {from}, and `{}` is to lower it to {to}", name(at));
        describe::irql_history(out.report(&LOWER_RAISES, message), at);
    }
}

fn name(at: Moment<'_>) -> &'static str {
    at.origin.export.unwrap_or("a routine")
}
