//! Completion: the walk up the stack locations.

use events::{Decided, EntryPoint, Event, IrpComplete, IrpId, PendingLost, Seq};
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::{
        IRP_ASSOCIATED_IRP, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS,
        SL_PENDING_RETURNED,
    },
    structures::io::{IO_STACK_LOCATION, IRP},
};
use nt_macros::export;

use super::{associated, completion_routine, deliver, irp, lower_driver, start_io};
use crate::{CallResult, Flow, GuestCall, Kernel, Stop, exports, frame, ob};

exports![IofCompleteRequest];

/// Completes an IRP.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iofcompleterequest",
    written_as = "IoCompleteRequest",
    limits = "the priority boost is not given"
)]
fn IofCompleteRequest(k: &mut Kernel, address: GuestAddr, _boost: i8) -> CallResult<Flow> {
    let known = irp::at(k, address).map(|irp| (irp.id, irp.completed, irp.is_live));
    // After the IRP is gone, what stands there is no status any more.
    let is_readable = known.is_none_or(|(_, _, is_live)| is_live);
    let (status, information, has_cancel_routine) = match is_readable {
        true => (
            NtStatus(k.get(address, IRP::Status)?),
            k.get(address, IRP::Information)?,
            k.get(address, IRP::CancelRoutine)? != 0,
        ),
        false => (NtStatus::default(), 0, false),
    };
    let status_at = address.add(IRP::Status.offset_bytes);
    if is_readable && known.is_some() && k.memory.undefined(status_at, 4).is_some() {
        k.note_undefined(Decided::Status)?;
    }
    let event = IrpComplete {
        irp: known.map(|(id, ..)| id),
        address,
        status,
        information,
        earlier: known.and_then(|(_, completed, _)| completed),
        has_cancel_routine,
    };
    let seq = k.emit(Event::IrpComplete(event))?;
    if event.earlier.is_some() {
        let parameters = [address.0, 0, 0, 0];
        return Err(Stop::bug_check(irp::MULTIPLE_IRP_COMPLETE_REQUESTS, parameters));
    }
    if start_io::is_queued(k, address) {
        return Err(Stop::bug_check(INCONSISTENT_IRP, [address.0, 0, 0, 0]));
    }
    let number = known.map_or(0, |(id, ..)| id.0);
    k.trace(|_| format!("irp {number} completed {status}, information {information}"));
    walk(k, address, seq)
}

/// "The I/O manager detects an IRP that is being completed but is still marked as queued to a
/// driver's device queue."
const INCONSISTENT_IRP: u32 = 0x2a;

/// Completes an IRP on behalf of the kernel.
pub(crate) fn complete(k: &mut Kernel, address: GuestAddr) -> CallResult<Flow> {
    let seq = k.last_seq;
    walk(k, address, seq)
}

fn walk(k: &mut Kernel, address: GuestAddr, seq: Seq) -> CallResult<Flow> {
    let id = irp::at_or_number(k, address)?;
    let stack_count = k.get(address, IRP::StackCount)?;
    if k.get(address, IRP::CurrentLocation)? > stack_count.wrapping_add(1) {
        let parameters = [address.0, 0, 0, 0];
        return Err(Stop::bug_check(irp::MULTIPLE_IRP_COMPLETE_REQUESTS, parameters));
    }
    irp::entry(k, id).completed = Some(seq);
    // What was done on the way down comes before what is done on the way up.
    k.order_acquire(address);
    k.order_release(address);
    Walk { address, id, seq }.run(k)
}

/// On the way up; the value that arrives is that of a completion routine.
#[derive(Clone, Debug)]
struct Walk {
    address: GuestAddr,
    id: IrpId,
    seq: Seq,
}

frame!(Walk, |this, k, value| {
    #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of rax")]
    let status = NtStatus(value as u32);
    if status == NtStatus::STATUS_MORE_PROCESSING_REQUIRED {
        // The driver has the IRP again; this completion is taken back.
        return Ok(Flow::Return(0));
    }
    irp::entry(k, this.id).completed = Some(this.seq);
    this.run(k)
});

impl Walk {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        let irp = self.address;
        loop {
            let current = k.get(irp, IRP::CurrentLocation)?;
            let is_top = current >= k.get(irp, IRP::StackCount)?;
            if current > k.get(irp, IRP::StackCount)? {
                return self.finish(k);
            }
            let location = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
            let upper = location.add(IO_STACK_LOCATION::SIZE_BYTES);
            let control = k.get(location, IO_STACK_LOCATION::Control)?;
            let is_pending = control & SL_PENDING_RETURNED != 0;
            k.set(irp, IRP::PendingReturned, u8::from(is_pending))?;
            self.leave_location(k, current, is_pending)?;
            k.set(irp, IRP::CurrentLocation, current.wrapping_add(1))?;
            k.set(irp, IRP::CurrentStackLocation, upper.0)?;
            let routine = GuestAddr(k.get(location, IO_STACK_LOCATION::CompletionRoutine)?);
            let context = k.get(location, IO_STACK_LOCATION::Context)?;
            let routine = completion_routine::at(k, routine, context, control);
            let is_wanted = self.is_wanted(k, routine.control)?;
            clear_location(k, location)?;
            if let (true, Some(event)) = (is_wanted, routine.event) {
                irp::entry(k, self.id).completed = None;
                k.signal(event, 1)?;
                return Ok(Flow::Return(0));
            }
            if is_wanted && routine.is_keeper {
                irp::entry(k, self.id).completed = None;
                lower_driver::keep(k, irp)?;
                return Ok(Flow::Return(0));
            }
            if is_wanted {
                // The routine belongs to the driver above, whose device is in the location above.
                let device = match is_top {
                    true => 0,
                    false => k.get(upper, IO_STACK_LOCATION::DeviceObject)?,
                };
                irp::entry(k, self.id).completed = None;
                let entry = EntryPoint::CompletionRoutine { irp: self.id };
                let arguments = vec![device, irp.0, routine.context];
                let call = GuestCall::entry(routine.target, arguments, entry);
                return Ok(match routine.keeps {
                    None => Flow::call(call, self),
                    Some(device) => {
                        Flow::call(call, completion_routine::Returned { device }).then(k, self)?
                    }
                });
            }
            if let Some(device) = routine.keeps {
                ob::dereference_later(k, device)?;
            }
            if is_pending && !is_top {
                let control = k.get(upper, IO_STACK_LOCATION::Control)?;
                k.set(upper, IO_STACK_LOCATION::Control, control | SL_PENDING_RETURNED)?;
            }
        }
    }

    /// Tells the dispatch routines that are still running that their location was passed, and looks
    /// whether one that returned `STATUS_PENDING` left the mark there.
    fn leave_location(&self, k: &mut Kernel, location: i8, is_pending: bool) -> CallResult<()> {
        let status = NtStatus(k.get(self.address, IRP::Status)?);
        let of_location = |d: &&mut super::dispatch::Dispatch| {
            d.irp == self.id && d.location == location && d.completed.is_none()
        };
        for dispatch in k.io.dispatches.iter_mut().filter(of_location) {
            dispatch.completed = Some((status, self.seq));
            dispatch.is_marked_pending |= is_pending;
        }
        let pended = &mut irp::entry(k, self.id).pended;
        let found = pended.iter().find(|(of, _)| *of == location).map(|(_, returned)| *returned);
        pended.retain(|(of, _)| *of != location);
        if let Some(returned) = found.filter(|_| !is_pending) {
            k.emit(Event::PendingLost(PendingLost { irp: self.id, returned }))?;
        }
        Ok(())
    }

    /// Whether a location's completion routine is to be called. Source:
    /// `wdm/nf-wdm-iosetcompletionroutine`.
    fn is_wanted(&self, k: &mut Kernel, control: u8) -> CallResult<bool> {
        let status = NtStatus(k.get(self.address, IRP::Status)?);
        let by_status = match status.is_success() {
            true => SL_INVOKE_ON_SUCCESS,
            false => SL_INVOKE_ON_ERROR,
        };
        let is_cancelled = k.get(self.address, IRP::Cancel)? != 0;
        Ok(control & by_status != 0 || (is_cancelled && control & SL_INVOKE_ON_CANCEL != 0))
    }

    /// Above the last location.
    fn finish(self, k: &mut Kernel) -> CallResult<Flow> {
        if k.get(self.address, IRP::Flags)? & IRP_ASSOCIATED_IRP != 0 {
            return associated::finish(k, self.id);
        }
        deliver::deliver(k, self.id, self.seq)
    }
}

/// A location that was passed tells nothing any more.
fn clear_location(k: &mut Kernel, location: GuestAddr) -> CallResult<()> {
    k.set(location, IO_STACK_LOCATION::MinorFunction, 0)?;
    k.set(location, IO_STACK_LOCATION::Flags, 0)?;
    k.set(location, IO_STACK_LOCATION::Control, 0)?;
    let parameters = location.add(IO_STACK_LOCATION::Parameters.offset_bytes);
    let bytes =
        IO_STACK_LOCATION::DeviceObject.offset_bytes - IO_STACK_LOCATION::Parameters.offset_bytes;
    k.fill(parameters, 0, bytes)?;
    k.set(location, IO_STACK_LOCATION::FileObject, 0)
}

#[cfg(test)]
mod tests {
    use events::Event;
    use guest_memory::GuestAddr;
    use nt_abi::{
        constants::io::{SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS},
        structures::io::IRP,
    };

    use crate::{
        GuestCall, Kernel,
        io::{
            irp::{IrpKind, entry},
            request::Draft,
            test_driver::{self, DISPATCH, mark_pending, set_completion_routine},
        },
        ob::PreviousMode,
        testing::{bug_check_code, call_by_name, carry_on, drive, take_events},
    };

    const COMPLETED: u64 = 0xffff_f802_0000_1000;
    const ALWAYS: u8 = SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL;
    const MORE_PROCESSING: u64 = 0xc000_0016;

    /// Two filters that set completion routines over a driver that completes or keeps.
    struct Stack {
        devices: [GuestAddr; 3],
        log: Vec<String>,
        /// What the lowest driver completes with; `None`: it keeps the request.
        status: Option<u32>,
        /// Flags of the completion routines; 0: none is set.
        control: u8,
        /// The filter that takes the request back.
        takes_back: Option<u64>,
        /// Completion routines mark the request pending if it was below.
        marks: bool,
    }

    impl Stack {
        fn new() -> (Kernel, Draft, Self) {
            let (mut k, devices) = test_driver::stack();
            let kind = IrpKind::Request;
            let draft = Draft::new(&mut k, devices[2], 3, kind, PreviousMode::Kernel).unwrap();
            draft.request(&mut k).is_synchronous = false;
            let log = Vec::new();
            let (status, control, takes_back, marks) = (Some(0), ALWAYS, None, true);
            (k, draft, Self { devices, log, status, control, takes_back, marks })
        }

        fn send(&mut self, k: &mut Kernel, draft: Draft) -> String {
            let flow = draft.send(k);
            let done = carry_on(k, flow, &mut |k, call| self.routine(k, call)).unwrap();
            self.log.push(format!("{done:x?}"));
            self.take_log()
        }

        fn complete(&mut self, k: &mut Kernel, draft: Draft) -> String {
            let arguments = [draft.irp.0, 0];
            let mut guest = |k: &mut Kernel, call: &GuestCall| self.routine(k, call);
            drive(k, "IofCompleteRequest", &arguments, &mut guest).unwrap();
            self.take_log()
        }

        fn take_log(&mut self) -> String {
            std::mem::take(&mut self.log).join(", ")
        }

        fn routine(&mut self, k: &mut Kernel, call: &GuestCall) -> u64 {
            let (device, irp) = (call.arguments[0], call.arguments[1]);
            let level = self.devices.iter().position(|at| at.0 == device).unwrap();
            if call.target.0 == DISPATCH {
                return self.dispatch(k, level, irp);
            }
            let was_pending = k.get(GuestAddr(irp), IRP::PendingReturned).unwrap();
            self.log.push(format!("up {level} context {} {was_pending}", call.arguments[2]));
            if self.takes_back == Some(call.arguments[2]) {
                return MORE_PROCESSING;
            }
            if self.marks && was_pending != 0 {
                mark_pending(k, irp);
            }
            0
        }

        fn dispatch(&mut self, k: &mut Kernel, level: usize, irp: u64) -> u64 {
            self.log.push(format!("down {level}"));
            if level > 0 {
                if self.control != 0 {
                    let routine = (COMPLETED, level as u64);
                    set_completion_routine(k, irp, routine, self.control);
                }
                let below = self.devices[level - 1].0;
                let mut guest = |k: &mut Kernel, call: &GuestCall| self.routine(k, call);
                return drive(k, "IofCallDriver", &[below, irp], &mut guest).unwrap();
            }
            let Some(status) = self.status else {
                mark_pending(k, irp);
                return 0x103;
            };
            k.set(GuestAddr(irp), IRP::Status, status).unwrap();
            let mut guest = |k: &mut Kernel, call: &GuestCall| self.routine(k, call);
            drive(k, "IofCompleteRequest", &[irp, 0], &mut guest).unwrap();
            u64::from(status)
        }
    }

    #[test]
    fn completion_routines_run_from_the_lowest_up_with_their_own_device() {
        let (mut k, draft, mut stack) = Stack::new();
        let log = stack.send(&mut k, draft);
        let expected = "down 2, down 1, down 0, up 1 context 1 0, up 2 context 2 0, Done(0)";
        assert_eq!(log, expected);
        assert!(entry(&mut k, draft.id).result.is_some());
    }

    #[test]
    fn flags_choose_when_a_completion_routine_runs() {
        let (success, error, cancel) =
            (SL_INVOKE_ON_SUCCESS, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_CANCEL);
        let cases = [
            (0, 0, success, true),
            (0, 0, error | cancel, false),
            (0, 0, ALWAYS, true),
            // An informational status is a success.
            (0x4000_0000, 0, success, true),
            // A warning is not.
            (0x8000_0005, 0, success, false),
            (0x8000_0005, 0, error, true),
            (0xc000_0001, 0, success | cancel, false),
            (0xc000_0001, 0, error, true),
            // Cancelled means `Irp->Cancel`, whatever the status.
            (0, 1, cancel, true),
            (0xc000_0120, 0, cancel, false),
            (0xc000_0120, 1, cancel, true),
        ];
        for (status, is_cancelled, control, is_called) in cases {
            let (mut k, draft, mut stack) = Stack::new();
            (stack.status, stack.control) = (Some(status), control);
            k.set(draft.irp, IRP::Cancel, is_cancelled).unwrap();
            let log = stack.send(&mut k, draft);
            assert_eq!(log.contains("up 1"), is_called, "{status:x} {is_cancelled} {control:x}");
        }
    }

    #[test]
    fn more_processing_required_gives_the_request_back_to_the_filter() {
        let (mut k, draft, mut stack) = Stack::new();
        stack.takes_back = Some(1);
        let log = stack.send(&mut k, draft);
        assert_eq!(log, "down 2, down 1, down 0, up 1 context 1 0, Done(0)");
        assert!(entry(&mut k, draft.id).result.is_none());
        // Completed again it goes on from there.
        assert_eq!(stack.complete(&mut k, draft), "up 2 context 2 0");
        assert!(entry(&mut k, draft.id).result.is_some());
    }

    #[test]
    fn a_pending_mark_goes_up_by_itself_only_where_no_completion_routine_runs() {
        let cases = [
            (ALWAYS, true, "up 1 context 1 1, up 2 context 2 1"),
            (ALWAYS, false, "up 1 context 1 1, up 2 context 2 0"),
            (0, true, ""),
            // Set but not wanted for this status.
            (SL_INVOKE_ON_ERROR, true, ""),
        ];
        for (control, marks, expected) in cases {
            let (mut k, draft, mut stack) = Stack::new();
            (stack.status, stack.control, stack.marks) = (None, control, marks);
            assert_eq!(stack.send(&mut k, draft), "down 2, down 1, down 0, Done(103)");
            assert_eq!(stack.complete(&mut k, draft), expected, "{control:x} {marks}");
        }
    }

    /// How often the mark of a driver that had returned `STATUS_PENDING` was missing on the way up.
    fn lost(k: &mut Kernel, draft: &Draft) -> usize {
        let is_lost = |event: &Event| match event {
            Event::PendingLost(lost) => lost.irp == draft.id,
            _ => false,
        };
        take_events(k).iter().filter(|event| is_lost(event)).count()
    }

    /// "The IoCompletion routine should check the IRP->PendingReturned flag. If the flag is set,
    /// the IoCompletion routine must call IoMarkIrpPending with the IRP." Source:
    /// `wdm/nf-wdm-iomarkirppending`.
    #[test]
    fn a_pending_mark_is_lost_where_a_completion_routine_does_not_pass_it_on() {
        let cases = [
            // Both filters set a routine, and neither marks.
            (ALWAYS, false, 2),
            (ALWAYS, true, 0),
            // Without a routine that runs the mark goes up by itself.
            (0, false, 0),
            (SL_INVOKE_ON_ERROR, false, 0),
        ];
        for (control, marks, expected) in cases {
            let (mut k, draft, mut stack) = Stack::new();
            (stack.status, stack.control, stack.marks) = (None, control, marks);
            stack.send(&mut k, draft);
            assert_eq!(lost(&mut k, &draft), 0, "it is on its way");
            stack.complete(&mut k, draft);
            assert_eq!(lost(&mut k, &draft), expected, "{control:x} {marks}");
        }
    }

    #[test]
    fn a_request_that_is_completed_before_its_dispatch_routine_returns_loses_no_mark() {
        let (mut k, draft, mut stack) = Stack::new();
        stack.marks = false;
        stack.send(&mut k, draft);
        assert_eq!(lost(&mut k, &draft), 0);
    }

    #[test]
    fn completing_twice_is_bug_check_44() {
        let (mut k, draft, mut stack) = Stack::new();
        stack.send(&mut k, draft);
        let again = call_by_name(&mut k, "IofCompleteRequest", &[draft.irp.0, 0]);
        assert_eq!(bug_check_code(again), 0x44);
    }

    #[test]
    fn passing_down_without_a_location_is_bug_check_35() {
        let (mut k, device) = test_driver::device();
        let irp = test_driver::irp(&mut k, 1);
        let mut down = |k: &mut Kernel, call: &GuestCall| {
            let again = drive(k, "IofCallDriver", &call.arguments, &mut |_, _| 0);
            assert_eq!(bug_check_code(again), 0x35);
            0
        };
        drive(&mut k, "IofCallDriver", &[device.0, irp], &mut down).unwrap();
    }
}
