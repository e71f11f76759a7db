//! Associated IRPs: a driver splits a master request; the last part completes it.

use guest_memory::GuestAddr;
use nt_abi::{constants::io::IRP_ASSOCIATED_IRP, structures::io::IRP};
use nt_macros::export;

use super::{
    complete,
    irp::{self, IrpKind},
};
use crate::{CallResult, Flow, Kernel, exports, mm};

exports![IoMakeAssociatedIrp];

/// Allocates an IRP that belongs to a master IRP. The driver sets the master's `IrpCount`.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-iomakeassociatedirp")]
fn IoMakeAssociatedIrp(k: &mut Kernel, master: GuestAddr, stack_size: i8) -> CallResult<GuestAddr> {
    if stack_size < 1 || k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    irp::at_or_number(k, master)?;
    let thread = k.get(master, IRP::Thread)?;
    let id = irp::allocate(k, stack_size, IrpKind::Associated)?;
    let address = irp::entry(k, id).address;
    k.set(address, IRP::Flags, IRP_ASSOCIATED_IRP)?;
    k.set(address, IRP::MasterIrp, master.0)?;
    // The I/O manager finds the caller of the master through it; the thread's list has only the
    // master, so that its end does not cancel the parts ("Introduction to Cancel Routines").
    k.set(address, IRP::Thread, thread)?;
    irp::announce(k, id)?;
    Ok(address)
}

/// An associated IRP came up to the top: it is freed, and the last one completes its master.
pub(crate) fn finish(k: &mut Kernel, id: events::IrpId) -> CallResult<Flow> {
    let address = irp::entry(k, id).address;
    let master = GuestAddr(k.get(address, IRP::MasterIrp)?);
    let mdl = GuestAddr(k.get(address, IRP::MdlAddress)?);
    mm::release_chain(k, mdl)?;
    irp::free(k, id);
    // What each part did comes before the completion of the whole.
    k.order_release(master);
    let count = k.get(master, IRP::IrpCount)?.wrapping_sub(1);
    k.set(master, IRP::IrpCount, count)?;
    if count != 0 {
        return Ok(Flow::Return(0));
    }
    k.order_acquire(master);
    complete::complete(k, master)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::structures::io::IRP;

    use crate::{
        GuestCall, Kernel,
        io::{
            irp::{IrpKind, entry},
            request::Draft,
            test_driver::{self, DISPATCH},
        },
        ob::PreviousMode,
        testing::{Progress, call_by_name, carry_on, drive},
    };

    #[test]
    fn the_last_part_completes_the_master() {
        let (mut k, device) = test_driver::device();
        let draft = Draft::new(&mut k, device, 3, IrpKind::Request, PreviousMode::Kernel).unwrap();
        draft.request(&mut k).is_synchronous = false;
        let master = draft.irp;
        let mut parts = Vec::new();
        let mut split = |k: &mut Kernel, call: &GuestCall| {
            assert_eq!(call.target.0, DISPATCH);
            k.set(master, IRP::IrpCount, 2).unwrap();
            for _ in 0..2 {
                let arguments = [call.arguments[1], 1];
                parts.push(call_by_name(k, "IoMakeAssociatedIrp", &arguments).unwrap());
            }
            0x103
        };
        let flow = draft.send(&mut k);
        assert!(matches!(carry_on(&mut k, flow, &mut split).unwrap(), Progress::Done(0x103)));
        let is_over = |k: &mut Kernel| entry(k, draft.id).result.is_some();
        for (part, is_last) in [(parts[0], false), (parts[1], true)] {
            assert_eq!(k.get(GuestAddr(part), IRP::MasterIrp), Ok(master.0));
            let mut complete = |k: &mut Kernel, call: &GuestCall| {
                call_by_name(k, "IofCompleteRequest", &[call.arguments[1], 0]).unwrap();
                0
            };
            drive(&mut k, "IofCallDriver", &[device.0, part], &mut complete).unwrap();
            assert!(k.get(GuestAddr(part), IRP::Type).is_err(), "the part is freed");
            assert_eq!(is_over(&mut k), is_last);
        }
    }

    #[test]
    fn a_part_has_at_least_one_location() {
        let mut k = crate::testing::kernel();
        let master = test_driver::irp(&mut k, 1);
        assert_eq!(call_by_name(&mut k, "IoMakeAssociatedIrp", &[master, 0]), Ok(0));
    }
}
