//! Words for who races, and what they held.

use events::Who;
use verifier::{HeldLock, RawFinding};

use crate::describe;

/// Who runs.
pub fn who(who: Who) -> String {
    match who {
        Who::Dpcs(processor) => format!("a DPC on processor {processor}"),
        Who::Interrupts(processor) => format!("an interrupt of processor {processor}"),
        Who::Thread(thread) => format!("thread {}", thread.0),
    }
}

/// What somebody held: `holding the fast mutex`.
pub fn holding(holds: &[HeldLock]) -> String {
    let names: Vec<&str> = holds.iter().map(|held| describe::lock(held.lock.kind)).collect();
    match names.split_last() {
        None => "holding no lock".to_owned(),
        Some((only, [])) => format!("holding {only}"),
        Some((last, others)) => format!("holding {} and {last}", others.join(", ")),
    }
}

/// Adds where the locks were acquired that somebody held.
pub fn acquisitions(finding: &mut RawFinding, holds: &[HeldLock]) {
    for held in holds {
        let name = describe::lock(held.lock.kind);
        finding.note(held.acquired.seq, format!("{name} was acquired here"));
    }
}
