//! Words for locks, for messages and history.

use events::{Lock, LockMode, Seq};
use verifier::{Moment, RawFinding};

use crate::describe;

/// A lock by its kind.
pub(super) fn name(lock: Lock) -> &'static str {
    describe::lock(lock.kind)
}

/// The routine that was called.
pub(super) fn routine(at: Moment<'_>) -> String {
    at.origin.export.map_or_else(|| "the kernel".to_owned(), |name| format!("`{name}`"))
}

/// How a lock is held, as far as it is known: `, acquired by `KeAcquireSpinLock``.
pub(super) fn how_held(lock: Lock, at: Moment<'_>) -> String {
    let held = at.ledgers.locks().at(lock.at);
    match held.and_then(|held| held.acquired.export) {
        Some(export) => format!(", acquired by `{export}`"),
        None => String::new(),
    }
}

/// Adds where a lock was acquired: by its owner now, or at the moment given.
pub(super) fn acquisition(
    finding: &mut RawFinding,
    lock: Lock,
    acquired: Option<Seq>,
    at: Moment<'_>,
) {
    let held = at.ledgers.locks().at(lock.at);
    let seq = acquired.or(held.map(|held| held.acquired.seq));
    let mode = match held.map(|held| held.mode) {
        Some(LockMode::Shared) => " shared",
        _ => "",
    };
    finding.note_if(seq, format!("{} acquired{mode} here", name(lock)));
}
