//! Locks are taken in one order.

use events::{EventKind, Lock, LockRequest, Seq};
use verifier::{Edge, Findings, Moment, Monitor, RawFinding, Severity, Taken, declare_rule};

use super::words;
use crate::describe;

declare_rule! {
    /// Raised when locks were taken in orders in which several threads can block each other.
    pub static ORDER_CYCLE = {
        id: "lock::order_cycle",
        severity: Severity::Hazard,
        title: "locks taken in different orders",
        explain: include_str!("order_cycle.md"),
        fix: "take the locks in one order everywhere, or try the second one and start again",
        windows: "two threads that meet wait for each other for ever; bug check 0xC4 (0x1001) \
            under Driver Verifier",
        contract: &[
            "kernel/preventing-errors-and-deadlocks-while-using-spin-locks",
            "devtest/deadlock-detection",
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
        ],
        since: "0.1.0",
        yields_to: &["lock::deadlock"],
    }
}

/// When those in a cycle acquired their first lock: every other step of the history.
pub fn first_locks(finding: &RawFinding) -> Vec<Seq> {
    finding.history.iter().step_by(2).filter_map(|step| step.seq).collect()
}

/// Tells the locks of a cycle apart.
struct Letters(Vec<Lock>);

impl Letters {
    fn of(own: &Edge, others: &[Edge]) -> Self {
        let mut locks = vec![own.first.lock, own.wanted.lock];
        for edge in others {
            if !locks.contains(&edge.wanted.lock) {
                locks.push(edge.wanted.lock);
            }
        }
        Self(locks)
    }

    /// A lock with its letter: `the mutex (A)`.
    fn name(&self, taken: Taken) -> String {
        let letters = self.0.iter().zip('A'..='Z');
        let found = letters.into_iter().find(|(lock, _)| **lock == taken.lock);
        let letter = found.map_or('?', |(_, letter)| letter);
        format!("{} ({letter})", words::name(taken.lock))
    }
}

/// Asks the ledger at each request whether it closes a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OrderCycle;

impl Monitor for OrderCycle {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockRequest]
    }

    fn lock_request(&mut self, request: &LockRequest, at: Moment<'_>, out: &mut Findings) {
        let entry = at.ledgers.current_entry(at.origin.thread);
        let cycle = at.ledgers.locks().cycle(request, at.origin, entry);
        let Some((own, others)) = cycle.as_ref().and_then(|cycle| cycle.split_first()) else {
            return;
        };
        let letters = Letters::of(own, others);
        let (held, wanted) = (letters.name(own.first), letters.name(own.wanted));
        let routine = words::routine(at);
        let message = format!(
            "{routine} waits for {wanted} with {held} held; elsewhere the order is another"
        );
        let finding = out.report(&ORDER_CYCLE, message);
        for edge in others {
            let (held, wanted) = (letters.name(edge.first), letters.name(edge.wanted));
            let routine = describe::entry(edge.entry.0);
            finding.note(edge.first.when, format!("{routine} acquired {held} here"));
            finding.note(edge.wanted.when, format!("and then {wanted}")).or_at(edge.wanted.ip);
        }
        finding.note(own.first.when, format!("now {held} was acquired here"));
    }
}
