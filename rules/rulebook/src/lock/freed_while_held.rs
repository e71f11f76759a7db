//! A lock that is held keeps its memory.

use events::{EventKind, PoolFree, PoolFreeOutcome};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;
use crate::describe;

declare_rule! {
    /// Raised when pool is freed in which a lock is held.
    pub static FREED_WHILE_HELD = {
        id: "lock::freed_while_held",
        severity: Severity::Violation,
        title: "memory freed with a lock in it that is held",
        explain: include_str!("freed_while_held.md"),
        fix: "release the lock before its memory goes",
        windows: "the release writes into freed memory; bug check 0xC4 (0x100B) under Driver \
            Verifier",
        contract: &[
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
            "devtest/deadlock-detection",
        ],
        since: "0.1.0",
    }
}

/// Looks for held locks in what is freed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreedWhileHeld;

impl Monitor for FreedWhileHeld {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::PoolFree]
    }

    fn pool_free(&mut self, free: &PoolFree, at: Moment<'_>, out: &mut Findings) {
        let PoolFreeOutcome::Freed(block) = free.outcome else { return };
        let held = at.ledgers.locks().inside(block.base, block.size_bytes);
        let Some(held) = held else { return };
        let what = describe::block(&block);
        let lock = words::name(held.lock);
        let finding =
            out.report(&FREED_WHILE_HELD, format!("{what} freed while {lock} in it is held"));
        describe::history_of(finding, &block);
        words::acquisition(finding, held.lock, None, at);
    }
}
