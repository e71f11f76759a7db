//! The release of a spin lock restores the IRQL of its acquisition.

use events::{EventKind, LockRelease};
use nt_abi::Irql;
use verifier::{Findings, HeldLock, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when the release of a spin lock sets an IRQL that is not that of its acquisition.
    pub static RELEASED_AT_WRONG_IRQL = {
        id: "lock::released_at_wrong_irql",
        severity: Severity::Violation,
        title: "lock released at the wrong IRQL",
        explain: include_str!("released_at_wrong_irql.md"),
        fix: "pass the IRQL that was saved when the lock was acquired, and lower it with the \
            last lock",
        windows: "the caller of the routine loses its IRQL, or a thread is switched away with a \
            spin lock; bug check 0xC4 (0x20015) under Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-kereleasespinlock",
            "devtest/wdm-irqlkereleasespinlock",
            "kernel/preventing-errors-and-deadlocks-while-using-spin-locks",
        ],
        since: "0.1.0",
    }
}

/// Compares the level that a release sets with that before the first of the spin locks held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReleasedAtWrongIrql;

impl Monitor for ReleasedAtWrongIrql {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockRelease]
    }

    fn lock_release(&mut self, release: &LockRelease, at: Moment<'_>, out: &mut Findings) {
        if !release.lock.kind.is_spin_lock() {
            return;
        }
        let (locks, level) = (at.ledgers.locks(), release.irql_after);
        let holder = locks.holder(at.origin);
        let Some(held) = locks.by(holder, release.lock.at) else { return };
        let is_other =
            |other: &&HeldLock| other.lock.kind.is_spin_lock() && other.lock != held.lock;
        let other = locks.of(holder).find(is_other);
        let saves = held.acquired.export.is_some_and(|name| !name.ends_with("AtDpcLevel"));
        let base = locks.base_irql(holder).filter(|_| saves);
        let routine = words::routine(at);
        let message = if level > at.origin.irql {
            format!("{routine} raises the IRQL to {level}")
        } else if let Some(other) = other {
            if level >= Irql::DISPATCH_LEVEL {
                return;
            }
            let other = words::name(other.lock);
            format!("{routine} lowers the IRQL to {level} while {other} is held too")
        } else {
            let Some(base) = base.filter(|base| level < *base) else { return };
            format!("{routine} lowers the IRQL to {level}; it was {base} before the lock")
        };
        let finding = out.report(&RELEASED_AT_WRONG_IRQL, message);
        words::acquisition(finding, held.lock, None, at);
        if let Some(other) = other {
            words::acquisition(finding, other.lock, None, at);
        }
    }
}
