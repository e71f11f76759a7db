//! Completion: the walk up the stack locations.

use events::{EntryPoint, Event, IrpComplete, IrpId, Seq};
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

use super::{deliver, irp};
use crate::{CallResult, Flow, GuestCall, Kernel, Stop, exports, frame};

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
    let number = known.map_or(0, |(id, ..)| id.0);
    k.trace(|_| format!("irp {number} completed {status}, information {information}"));
    walk(k, address, seq)
}

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
            let is_wanted = self.is_wanted(k, control)?;
            clear_location(k, location)?;
            if is_wanted {
                // The routine belongs to the driver above, whose device is in the location above.
                let device = match is_top {
                    true => 0,
                    false => k.get(upper, IO_STACK_LOCATION::DeviceObject)?,
                };
                irp::entry(k, self.id).completed = None;
                let entry = EntryPoint::CompletionRoutine { irp: self.id };
                let call = GuestCall::entry(routine, vec![device, irp.0, context], entry);
                return Ok(Flow::call(call, self));
            }
            if is_pending && !is_top {
                let control = k.get(upper, IO_STACK_LOCATION::Control)?;
                k.set(upper, IO_STACK_LOCATION::Control, control | SL_PENDING_RETURNED)?;
            }
        }
    }

    /// Tells the dispatch routines that are still running that their location was passed.
    fn leave_location(&self, k: &mut Kernel, location: i8, is_pending: bool) -> CallResult<()> {
        let status = NtStatus(k.get(self.address, IRP::Status)?);
        let of_location = |d: &&mut super::dispatch::Dispatch| {
            d.irp == self.id && d.location == location && d.completed.is_none()
        };
        for dispatch in k.io.dispatches.iter_mut().filter(of_location) {
            dispatch.completed = Some((status, self.seq));
            dispatch.is_marked_pending |= is_pending;
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
            return Err(Stop::unsupported("completion of an associated IRP"));
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
