//! A routine releases the locks that it acquired.

use events::{EntryPoint, EntryReturn, EventKind, LockKind, LockMode};
use nt_abi::NtStatus;
use verifier::{Findings, HeldLock, Moment, Monitor, Severity, declare_rule};

use super::words;
use crate::describe;

declare_rule! {
    /// Raised when a routine of the driver returns to the kernel with a lock that it acquired.
    pub static HELD_AT_RETURN = {
        id: "lock::held_at_return",
        severity: Severity::Violation,
        title: "routine returned with a lock held",
        explain: include_str!("held_at_return.md"),
        fix: "release the lock on every path out of the routine",
        windows: "everybody who needs the lock hangs; bug check 0x1 for mutexes, 0xC4 under \
            Driver Verifier",
        contract: &[
            "devtest/wdm-spinlock",
            "devtest/wdm-queuedspinlock",
            "devtest/wdm-exclusiveresourceaccess",
            "kernel/introduction-to-spin-locks",
            "kernel/using-the-system-s-cancel-spin-lock",
        ],
        since: "0.1.0",
        yields_to: &["irql::not_restored"],
    }
}

/// Looks at what the routine acquired and did not release.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeldAtReturn;

/// Routines after which nobody of the driver goes on in the same thread. Callbacks may return with
/// a lock by contract, and a completion routine may return to the driver's own code.
fn ends_here(entry: EntryPoint) -> bool {
    matches!(
        entry,
        EntryPoint::DriverEntry
            | EntryPoint::Unload
            | EntryPoint::AddDevice
            | EntryPoint::Dispatch { .. }
            | EntryPoint::CancelRoutine { .. }
            | EntryPoint::Dpc
            | EntryPoint::WorkItem
            | EntryPoint::SystemThread
    )
}

/// A resource may be released for its thread by who completes the request; shared access may be
/// meant to stay.
fn may_stay(held: &HeldLock, returned: &EntryReturn) -> bool {
    let is_pending = matches!(returned.entry, EntryPoint::Dispatch { .. })
        && returned.value & u64::from(u32::MAX) == u64::from(NtStatus::STATUS_PENDING.0);
    held.lock.kind == LockKind::Resource && (is_pending || held.mode == LockMode::Shared)
}

impl Monitor for HeldAtReturn {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::EntryReturn]
    }

    fn entry_return(&mut self, returned: &EntryReturn, at: Moment<'_>, out: &mut Findings) {
        let entry = at.ledgers.current_entry(at.origin.thread);
        if !ends_here(returned.entry) {
            return;
        }
        let locks = at.ledgers.locks();
        // The cancel spin lock is handed to a cancel routine, which must release it.
        let is_cancel = matches!(returned.entry, EntryPoint::CancelRoutine { .. });
        let is_handed = |held: &HeldLock| is_cancel && held.lock.kind == LockKind::CancelSpinLock;
        let own = |held: &&HeldLock| {
            (held.entry == entry || is_handed(held)) && !may_stay(held, returned)
        };
        let Some(held) = locks.of(locks.holder(at.origin)).find(own) else { return };
        let name = describe::entry(returned.entry);
        let lock = words::name(held.lock);
        let finding = out.report(&HELD_AT_RETURN, format!("{name} returns with {lock} held"));
        if is_handed(held) {
            finding.fact("the kernel acquired it for the routine");
        } else {
            words::acquisition(finding, held.lock, None, at);
        }
    }
}
