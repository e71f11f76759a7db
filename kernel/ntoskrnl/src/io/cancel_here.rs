//! The caller cancels a request while the driver works on it.
//!
//! Another thread of the calling process calls `CancelIoEx` for the file, at any moment: before the
//! driver sees the request, while it puts it into a queue, while it takes it out, while it is about
//! to complete it. Source: "Canceling IRPs", "Introduction to Cancel Routines".

use events::{CANCEL_HERE, IrpId};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    constants::{IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE},
    structures::io::IRP,
};

use super::{
    MOST_LOOKED_AT, cancel, file_lock,
    irp::{Irp, IrpKind},
};
use crate::{
    CallResult, Flow, Kernel, frame,
    ob::{self, PreviousMode},
    ps,
};

/// Where the driver is: about to make a call, or back from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallStage {
    /// The call was not made yet.
    Before,
    /// It returned.
    After,
}

/// Questions per run.
const MOST_ASKED: u32 = 1024;

/// What makes two moments in the life of a request different.
fn detail(major: u8, has_routine: bool, stage: u64) -> u64 {
    u64::from(major) << 8 | u64::from(has_routine) << 4 | stage
}

/// A request that its caller could cancel: of user mode, on an open file, and neither cancelled nor
/// completed.
fn is_open(irp: &Irp) -> bool {
    let is_cancellable = !matches!(irp.major, IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE);
    let is_of_user = irp.request.as_ref().is_some_and(|r| r.mode == PreviousMode::User);
    irp.kind == IrpKind::Request
        && irp.is_live
        && irp.completed.is_none()
        && !irp.file.is_null()
        && is_cancellable
        && is_of_user
}

/// The latest request that could be cancelled now, its file, and what state it is in.
fn latest(k: &mut Kernel) -> CallResult<Option<(GuestAddr, IrpId, u64)>> {
    let looked_at = k.io.irps.values().rev().take(MOST_LOOKED_AT).filter(|irp| is_open(irp));
    let open: Vec<_> = looked_at.map(|irp| (irp.address, irp.file, irp.id, irp.major)).collect();
    for (address, file, id, major) in open {
        if k.get(address, IRP::Cancel)? == 0 {
            let has_routine = k.get(address, IRP::CancelRoutine)? != 0;
            return Ok(Some((file, id, detail(major, has_routine, 0))));
        }
    }
    Ok(None)
}

/// Asks whether the caller cancels its latest request here; says whether another thread, which
/// does, goes on.
pub(crate) fn cancel_if_chosen(k: &mut Kernel, stage: CallStage) -> CallResult<bool> {
    let at = k.core().call.map_or(GuestAddr(k.core().regs.rip), |call| call.from);
    if k.image_at(at).is_none() || k.io.irps.is_empty() || k.tape.asked(CANCEL_HERE) >= MOST_ASKED {
        return Ok(false);
    }
    // The thread that cancels needs a processor.
    if k.cores.iter().all(|core| core.irql >= Irql::DISPATCH_LEVEL) {
        return Ok(false);
    }
    let Some((file, id, state)) = latest(k)? else { return Ok(false) };
    let thread = k.io.irps.get(&id).and_then(|irp| irp.thread);
    let Some(process) = thread.map(|thread| k.ke.thread(thread).process) else {
        return Ok(false);
    };
    let stage = if stage == CallStage::Before { 1 } else { 2 };
    if k.ask_here(CANCEL_HERE, 2, state | stage)? == 0 {
        return Ok(false);
    }
    k.core_mut().call = None;
    let thread = ps::create_thread(k, process, false)?;
    k.begin(thread, |k| cancel_file(k, file))?;
    Ok(true)
}

/// `CancelIoEx` by a handle, which keeps the file meanwhile.
fn cancel_file(k: &mut Kernel, file: GuestAddr) -> CallResult<Flow> {
    ob::reference(k, file);
    file_lock::give_up(k, file, NtStatus::STATUS_CANCELLED)?;
    cancel::cancel_file(k, file)?.then(k, Done { file })
}

/// Everything is cancelled.
#[derive(Clone, Debug)]
struct Done {
    file: GuestAddr,
}

frame!(Done, |this, k, value| {
    #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of the value")]
    let status = NtStatus(value as u32);
    ob::dereference(k, this.file)?.then(k, ob::Answer(status))
});

/// Asks whether the caller cancels a request before its first driver sees it: then it is only
/// marked, for it has no cancel routine yet.
pub(crate) fn cancel_unsent(k: &mut Kernel, id: IrpId) -> CallResult<()> {
    let Some(irp) = k.io.irps.get(&id).filter(|irp| is_open(irp)) else { return Ok(()) };
    let (address, major, code) = (irp.address, irp.major, irp.control_code);
    // Each control code is a request of its own.
    let state = u64::from(code) << 16 | detail(major, false, 3);
    if k.ask_here(CANCEL_HERE, 2, state)? != 0 {
        cancel::note_cancel(k, id, false)?;
        k.set(address, IRP::Cancel, 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use choice_tape::{Deviation, Tape};
    use events::CANCEL_HERE;
    use nt_abi::{
        constants::{IRP_MJ_CLEANUP, IRP_MJ_CREATE, IRP_MJ_READ},
        structures::io::IRP,
    };

    use super::{cancel_unsent, latest};
    use crate::{
        Kernel,
        io::{
            irp::{self, IrpKind},
            request::Draft,
            test_driver,
        },
        ob::PreviousMode,
    };

    fn request(k: &mut Kernel, major: u8, mode: PreviousMode) -> Draft {
        let device = *k.io.devices.keys().next().expect("there is a device");
        let draft = Draft::new(k, device, major, IrpKind::Request, mode).unwrap();
        irp::entry(k, draft.id).file = device;
        draft
    }

    #[test]
    fn only_requests_of_user_mode_on_an_open_file_are_cancelled() {
        let (mut k, _) = test_driver::device();
        for (major, mode) in [
            (IRP_MJ_CREATE, PreviousMode::User),
            (IRP_MJ_CLEANUP, PreviousMode::User),
            (IRP_MJ_READ, PreviousMode::Kernel),
        ] {
            let draft = request(&mut k, major, mode);
            cancel_unsent(&mut k, draft.id).unwrap();
            assert_eq!(latest(&mut k), Ok(None), "{major}");
        }
        assert_eq!(k.tape.asked(CANCEL_HERE), 0);
        let draft = request(&mut k, IRP_MJ_READ, PreviousMode::User);
        assert!(latest(&mut k).unwrap().is_some_and(|(_, id, _)| id == draft.id));
        k.tape = Tape::new([Deviation { kind: CANCEL_HERE.number, ordinal: 1, answer: 1 }]);
        for expected in [0, 1] {
            cancel_unsent(&mut k, draft.id).unwrap();
            assert_eq!(k.get(draft.irp, IRP::Cancel), Ok(expected));
        }
        // Once is enough.
        assert_eq!(latest(&mut k), Ok(None));
    }
}
