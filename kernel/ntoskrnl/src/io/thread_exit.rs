//! The end of a thread: its requests are cancelled, and it waits until they are over.
//!
//! "If a canceled IRP is not completed within 5 minutes, the I/O manager considers the IRP timed
//! out. Such IRPs are disassociated from the thread" ("Canceling IRPs").

use events::ThreadId;

use super::{cancel, irp};
use crate::{CallResult, Flow, Kernel, Wait, frame};

/// How long a thread waits for its requests: 5 minutes.
const PATIENCE_100NS: u64 = 5 * 60 * 10_000_000;
/// How often it looks: 100 ms at first, then less often.
const FIRST_LOOK_100NS: u64 = 1_000_000;

/// Cancels the requests of a thread and waits for them.
pub(crate) fn cancel_requests(k: &mut Kernel, thread: ThreadId) -> CallResult<Flow> {
    if cancel::requests_of(k, thread).is_empty() {
        return Ok(Flow::Return(0));
    }
    let gives_up_100ns = k.interrupt_time_100ns().saturating_add(PATIENCE_100NS);
    let look = Look { thread, gives_up_100ns, next_100ns: FIRST_LOOK_100NS };
    cancel::cancel_thread(k, thread)?.then(k, look)
}

/// Looks whether the requests are over.
#[derive(Clone, Debug)]
struct Look {
    thread: ThreadId,
    gives_up_100ns: u64,
    next_100ns: u64,
}

frame!(Look, |this, k, _| {
    let open = cancel::requests_of(k, this.thread);
    if open.is_empty() {
        return Ok(Flow::Return(0));
    }
    let now = k.interrupt_time_100ns();
    if now >= this.gives_up_100ns {
        for id in open {
            irp::entry(k, id).thread = None;
        }
        return Ok(Flow::Return(0));
    }
    let due = now.saturating_add(this.next_100ns).min(this.gives_up_100ns);
    let wait =
        Wait { objects: Vec::new(), is_all: false, due_100ns: Some(due), is_alertable: false };
    let next_100ns = this.next_100ns.saturating_mul(2);
    Ok(Flow::wait(wait, Look { next_100ns, ..this }))
});

#[cfg(test)]
mod tests {
    use events::ThreadId;
    use nt_abi::structures::io::IRP;

    use super::cancel_requests;
    use crate::{
        GuestCall, Kernel,
        io::{
            cancel,
            irp::{self, IrpKind},
            request::Draft,
            test_driver,
        },
        ob::PreviousMode,
        testing::{Progress, call_by_name, carry_on, wait_again},
    };

    const CANCEL: u64 = 0xffff_f802_0000_2000;
    const THREAD: ThreadId = ThreadId(7);

    /// A request of a thread that a driver keeps.
    fn pending(cancel_routine: u64) -> (Kernel, Draft) {
        let (mut k, device) = test_driver::device();
        let kind = IrpKind::Request;
        let draft = Draft::new(&mut k, device, 3, kind, PreviousMode::Kernel).unwrap();
        draft.request(&mut k).is_synchronous = false;
        irp::entry(&mut k, draft.id).thread = Some(THREAD);
        let flow = draft.send(&mut k);
        carry_on(&mut k, flow, &mut |_, _| 0x103).unwrap();
        k.set(draft.irp, IRP::CancelRoutine, cancel_routine).unwrap();
        (k, draft)
    }

    #[test]
    fn the_cancel_routine_runs_and_the_thread_ends() {
        let (mut k, draft) = pending(CANCEL);
        let mut cancelled = Vec::new();
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            cancelled.push((call.target.0, call.arguments[1]));
            call_by_name(k, "IoReleaseCancelSpinLock", &[0]).unwrap();
            k.set(draft.irp, IRP::Status, 0xc000_0120).unwrap();
            call_by_name(k, "IofCompleteRequest", &[draft.irp.0, 0]).unwrap();
            0
        };
        let flow = cancel_requests(&mut k, THREAD);
        assert!(matches!(carry_on(&mut k, flow, &mut guest).unwrap(), Progress::Done(0)));
        assert_eq!(cancelled, [(CANCEL, draft.irp.0)]);
    }

    #[test]
    fn a_request_that_stays_keeps_the_thread_for_five_minutes() {
        let (mut k, draft) = pending(0);
        let start_100ns = k.interrupt_time_100ns();
        let flow = cancel_requests(&mut k, THREAD);
        let mut progress = carry_on(&mut k, flow, &mut |_, _| 0).unwrap();
        assert_eq!(k.get(draft.irp, IRP::Cancel), Ok(1));
        while let Progress::Waits(mut waiting) = progress {
            let due = waiting.wait.due_100ns.take().unwrap();
            k.idle_100ns += due - k.interrupt_time_100ns();
            // The time out ends the wait.
            waiting.wait.objects = vec![signalled(&mut k)];
            progress = wait_again(&mut k, waiting, &mut |_, _| 0).unwrap();
        }
        assert_eq!(k.interrupt_time_100ns() - start_100ns, 5 * 60 * 10_000_000);
        assert_eq!(cancel::requests_of(&k, THREAD), []);
    }

    fn signalled(k: &mut Kernel) -> guest_memory::GuestAddr {
        let event = guest_memory::GuestAddr(crate::testing::block(k, &[0; 0x18]));
        let kind = crate::ke::DispatcherType::NotificationEvent;
        k.init_dispatcher(event, kind, 0x18, 1).unwrap();
        event
    }
}
