//! Bytes that were never written must not decide anything.

use events::{BlockKind, EventKind, UndefinedDecision};
use guest_memory::{Block, GuestAddr, Near};
use verifier::{Confirmation, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a branch or an address depends on bytes that were never written, and the run
    /// ends differently when they hold something else.
    pub static UNINITIALIZED_USE = {
        id: "memory::uninitialized_use",
        severity: Severity::Violation,
        title: "uninitialized memory decides what the driver does",
        explain: include_str!("uninitialized_use.md"),
        fix: "initialize the variable or the block before its first use, on every path",
        windows: "whatever the memory held before decides: it works until it does not; bug check \
            0x50, 0x3B or 0xD1 if it becomes an address",
        contract: &["ddi/wdm/nf-wdm-exallocatepoolwithtag", "ddi/wdm/nf-wdm-exallocatepool2"],
        since: "0.1.0",
        yields_to: &["io_control::input_length_unchecked"],
    }
}

/// Suspects per run: loops decide at a few places, not at a thousand.
const MAX_SUSPECTS: usize = 32;

/// Watches decisions on bytes of pool and stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct UninitializedUse {
    suspected: Vec<GuestAddr>,
}

impl Monitor for UninitializedUse {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::UndefinedDecision]
    }

    fn undefined_decision(
        &mut self,
        decision: &UndefinedDecision,
        at: Moment<'_>,
        out: &mut Findings,
    ) {
        let Some(Near::Inside { block, offset_bytes }) = &decision.from else { return };
        let Some(place) = place(block, *offset_bytes, at) else { return };
        if self.suspected.contains(&at.origin.ip) || self.suspected.len() >= MAX_SUSPECTS {
            return;
        }
        self.suspected.push(at.origin.ip);
        let what = describe::decided(decision);
        let message = format!("{what} depends on bytes that were never written, {place}");
        let finding = out.report(&UNINITIALIZED_USE, message);
        describe::history_of(finding, block);
        finding.fact("with other bytes there the run ends differently");
        finding.confirm(Confirmation::DiffersByFill);
    }
}

/// Where the bytes are; `None` if it is not for the driver to write them.
fn place(block: &Block, offset_bytes: u64, at: Moment<'_>) -> Option<String> {
    match BlockKind::from_u16(block.allocated.kind)? {
        BlockKind::Pool => Some(format!("at offset {offset_bytes} of {}", describe::block(block))),
        BlockKind::Stack => Some("on the stack".to_owned()),
        BlockKind::SystemBuffer => {
            // What lies behind the input of a device control has a rule of its own.
            let irp = at.ledgers.current_irp(at.origin.thread)?;
            let has_tail = at.ledgers.irp(irp)?.tail.is_some();
            (!has_tail).then(|| format!("at offset {offset_bytes} of the system buffer"))
        }
        // The kernel fills its own blocks, and this one not as much of them as Windows.
        _ => None,
    }
}
