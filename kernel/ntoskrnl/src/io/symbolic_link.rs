//! Symbolic links to devices.

use events::{Event, Resource, ResourceTaken};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::UNICODE_STRING};
use nt_macros::export;

use super::name_taken;
use crate::{
    CallResult, Flow, GuestPtr, Kernel, exports,
    ob::{self, ObjectType},
};

exports![IoCreateSymbolicLink, IoCreateUnprotectedSymbolicLink, IoDeleteSymbolicLink];

/// Creates a link such as `\DosDevices\Zero` to a device such as `\Device\Zero`.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iocreatesymboliclink")]
fn IoCreateSymbolicLink(
    k: &mut Kernel,
    link: GuestPtr<UNICODE_STRING>,
    device: GuestPtr<UNICODE_STRING>,
) -> CallResult<Flow> {
    let name = ob::read_name(k, link.at)?;
    let target = ob::read_name(k, device.at)?;
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(answer(NtStatus::STATUS_INSUFFICIENT_RESOURCES));
    }
    name_taken::take_if_chosen(k, &name)?;
    let text = format!("link {name} to {target} created");
    let link = ob::create_link(k, target)?;
    let status = match ob::insert(k, link, &name, None) {
        Ok(()) => {
            ob::make_permanent(k, link);
            let resource = Resource::SymbolicLink(name.to_string());
            let taken = k.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
            ob::set_created(k, link, taken);
            k.trace(|_| text);
            return Ok(Flow::Return(u64::from(NtStatus::STATUS_SUCCESS.0)));
        }
        Err(error) => error.status(),
    };
    ob::dereference(k, link)?.then(k, ob::Answer(status))
}

/// The same, for everybody to change.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iocreateunprotectedsymboliclink")]
fn IoCreateUnprotectedSymbolicLink(
    k: &mut Kernel,
    link: GuestPtr<UNICODE_STRING>,
    device: GuestPtr<UNICODE_STRING>,
) -> CallResult<Flow> {
    IoCreateSymbolicLink(k, link, device)
}

/// Deletes a link.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iodeletesymboliclink")]
fn IoDeleteSymbolicLink(k: &mut Kernel, link: GuestPtr<UNICODE_STRING>) -> CallResult<Flow> {
    let name = ob::read_name(k, link.at)?;
    let link: GuestAddr = match ob::lookup(k, None, &name, ob::LinkAtEnd::Stay) {
        Ok(found) if ob::object(k, found.object).kind == ObjectType::SymbolicLink => found.object,
        Ok(_) => return Ok(answer(NtStatus::STATUS_OBJECT_TYPE_MISMATCH)),
        Err(status) => return Ok(answer(status)),
    };
    ob::make_temporary(k, link);
    k.trace(|_| format!("link {name} deleted"));
    ob::dereference(k, link)?.then(k, ob::Answer(NtStatus::STATUS_SUCCESS))
}

fn answer(status: NtStatus) -> Flow {
    Flow::Return(u64::from(status.0))
}
