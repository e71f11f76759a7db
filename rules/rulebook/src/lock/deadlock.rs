//! Processors and threads must not wait for each other for ever.

use events::{EventKind, Hang, LockMode, Standstill};
use verifier::{Blocked, Findings, Moment, Monitor, Severity, circle, declare_rule};

use super::words;

declare_rule! {
    /// Raised when a processor spins for a lock that nobody can ever release, and when threads
    /// sleep in a circle in which each waits for the next one.
    pub static DEADLOCK = {
        id: "lock::deadlock",
        severity: Severity::Violation,
        title: "processors or threads wait for each other",
        explain: include_str!("deadlock.md"),
        fix: "take the locks in one order everywhere, or try the second one and start again",
        windows: "processors that spin end in bug check 0x133; threads that sleep wait for ever, \
            and so do those who wait for them",
        contract: &[
            "kernel/preventing-errors-and-deadlocks-while-using-spin-locks",
            "devtest/deadlock-detection",
            "debugger/bug-check-0x133-dpc-watchdog-violation",
        ],
        since: "0.1.0",
    }
}

/// Watches hangs and standstills: the kernel has shown that no processor, timer, DPC or caller can
/// go on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadlock;

/// What a thread waits for.
fn waits_for(blocked: &Blocked) -> String {
    let Blocked { thread, on, .. } = blocked;
    let Some((request, _)) = blocked.wanted else {
        return format!("thread {} waits for the end of thread {}", thread.0, on.0);
    };
    let lock = words::name(request.lock);
    match blocked.held {
        Some(_) => format!("thread {} waits for {lock} of thread {}", thread.0, on.0),
        None => format!("thread {} waits for {lock} behind thread {}", thread.0, on.0),
    }
}

impl Monitor for Deadlock {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::Hang, EventKind::Standstill]
    }

    fn hang(&mut self, hang: &Hang, _: Moment<'_>, out: &mut Findings) {
        let message = "spins for a lock whose holder can never go on";
        let finding = out.report(&DEADLOCK, message);
        finding.note_if(hang.holder.map(|(_, acquired)| acquired), "the lock was acquired here");
    }

    fn standstill(&mut self, standstill: &Standstill, at: Moment<'_>, out: &mut Findings) {
        let Some(circle) = circle(at.ledgers.locks(), standstill) else { return };
        let when = |blocked: &Blocked| blocked.wanted.map(|(_, origin)| origin.seq);
        // The one that closed the circle, as far as that is known.
        let Some(last) = circle.iter().max_by_key(|blocked| when(blocked)) else { return };
        let message = format!("{}, in a circle that nothing breaks", waits_for(last));
        let finding = out.report(&DEADLOCK, message);
        if let Some((_, origin)) = last.wanted {
            finding.at(origin.seq, origin.ip);
        }
        let mut steps = Vec::new();
        for blocked in &circle {
            if let Some(held) = blocked.held {
                let lock = words::name(held.lock);
                let shared = if held.mode == LockMode::Shared { " shared" } else { "" };
                let text = format!("thread {} acquired {lock}{shared} here", blocked.on.0);
                steps.push((Some(held.acquired.seq), text));
            }
            if blocked.thread != last.thread {
                steps.push((when(blocked), waits_for(blocked)));
            }
        }
        // What has no moment comes last.
        steps.sort_by_key(|(seq, _)| (seq.is_none(), *seq));
        for (seq, text) in steps {
            match seq {
                Some(seq) => finding.note(seq, text),
                None => finding.fact(text),
            };
        }
    }
}
