//! A raise of the IRQL must not lower it.

use events::{EventKind, IrqlMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when `KeRaiseIrql` is called with a level below the current one.
    pub static RAISE_LOWERS = {
        id: "irql::raise_lowers",
        severity: Severity::Violation,
        title: "raise to a lower IRQL",
        explain: include_str!("raise_lowers.md"),
        fix: "raise only to a level that is not below the current one",
        windows: "bug check 0x9 (IRQL_NOT_GREATER_OR_EQUAL)",
        contract: &[
            "ddi/wdm/nf-wdm-keraiseirql",
            "debugger/bug-check-0x9--irql-not-greater-or-equal",
        ],
        since: "0.1.0",
    }
}

/// Judges raises.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RaiseLowers;

impl Monitor for RaiseLowers {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrqlMisuse]
    }

    fn irql_misuse(&mut self, misuse: &IrqlMisuse, at: Moment<'_>, out: &mut Findings) {
        if misuse.to > misuse.from {
            return;
        }
        let (from, to) = (misuse.from, misuse.to);
        let message = format!("the IRQL is {from}, and `{}` is to raise it to {to}", name(at));
        describe::irql_history(out.report(&RAISE_LOWERS, message), at);
    }
}

fn name(at: Moment<'_>) -> &'static str {
    at.origin.export.unwrap_or("a routine")
}
