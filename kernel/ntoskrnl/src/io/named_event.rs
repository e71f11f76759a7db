//! Named events: `IoCreateNotificationEvent`, `IoCreateSynchronizationEvent`.

use guest_memory::GuestAddr;
use nt_abi::{
    constants::io::OBJ_KERNEL_HANDLE,
    structures::{UNICODE_STRING, ke::KEVENT},
};
use nt_macros::export;

use crate::{
    CallResult, GuestPtr, Kernel, exports,
    ke::DispatcherType,
    ob::{self, Handle, ObjectType},
};

exports![IoCreateNotificationEvent, IoCreateSynchronizationEvent];

/// `EVENT_ALL_ACCESS`.
const EVENT_ALL_ACCESS: u32 = 0x001f_0003;

/// Creates or opens a named notification event; a new one is signalled.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-iocreatenotificationevent",
    limits = "events of user mode and of other drivers do not exist"
)]
fn IoCreateNotificationEvent(
    k: &mut Kernel,
    name: GuestPtr<UNICODE_STRING>,
    handle: GuestPtr<Handle>,
) -> CallResult<GuestAddr> {
    create(k, DispatcherType::NotificationEvent, name.at, handle.at)
}

/// Creates or opens a named synchronization event; a new one is signalled.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-iocreatesynchronizationevent",
    limits = "events of user mode and of other drivers do not exist"
)]
fn IoCreateSynchronizationEvent(
    k: &mut Kernel,
    name: GuestPtr<UNICODE_STRING>,
    handle: GuestPtr<Handle>,
) -> CallResult<GuestAddr> {
    create(k, DispatcherType::SynchronizationEvent, name.at, handle.at)
}

/// The event of a name with a new handle that keeps it; null if the name cannot be one of an event.
fn create(
    k: &mut Kernel,
    kind: DispatcherType,
    name: GuestAddr,
    handle_at: GuestAddr,
) -> CallResult<GuestAddr> {
    let name = ob::read_name(k, name)?;
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let found = ob::lookup(k, None, &name, ob::LinkAtEnd::Follow);
    let (event, is_new) = match found {
        Ok(found)
            if found.remaining.is_empty()
                && ob::object(k, found.object).kind == ObjectType::Event =>
        {
            (found.object, false)
        }
        Ok(_) => return Ok(GuestAddr::NULL),
        Err(_) => (ob::create(k, ObjectType::Event, KEVENT::SIZE_BYTES)?, true),
    };
    if is_new {
        k.init_dispatcher(event, kind, KEVENT::SIZE_BYTES, 1)?;
        if ob::insert(k, event, &name, None).is_err() {
            ob::dereference(k, event)?;
            return Ok(GuestAddr::NULL);
        }
    }
    let handle = ob::create_handle(k, event, EVENT_ALL_ACCESS, OBJ_KERNEL_HANDLE)?;
    if is_new {
        // The handle has a reference of its own.
        ob::dereference(k, event)?;
    }
    k.write_scalar(handle_at, handle.0)?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::testing::{block, call_by_name, kernel, unicode_string};

    #[test]
    fn an_event_lives_as_long_as_a_handle() {
        let mut k = kernel();
        let name = unicode_string(&mut k, r"\BaseNamedObjects\Ready", 0);
        let handle = block(&mut k, &[0; 8]);
        let create = [name, handle];
        let event = call_by_name(&mut k, "IoCreateNotificationEvent", &create).unwrap();
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[event]), Ok(1));
        let first: u64 = k.read_scalar(GuestAddr(handle)).unwrap();
        let again = call_by_name(&mut k, "IoCreateNotificationEvent", &create);
        assert_eq!(again, Ok(event));
        let second: u64 = k.read_scalar(GuestAddr(handle)).unwrap();
        assert_eq!(call_by_name(&mut k, "ZwClose", &[first]), Ok(0));
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[event]), Ok(1));
        assert_eq!(call_by_name(&mut k, "ZwClose", &[second]), Ok(0));
        assert!(call_by_name(&mut k, "KeReadStateEvent", &[event]).is_err());
    }
}
