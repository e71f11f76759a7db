//! Callback objects: routines that are called when a condition occurs which the creator of the
//! object defines.

use std::collections::BTreeMap;

use events::{BlockKind, EntryPoint, Event, Resource, ResourceTaken, Seq};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, constants::io::OBJ_PERMANENT};
use nt_macros::export;

use crate::{
    CallResult, Flow, GuestCall, Kernel, Stop, exports, frame, mm,
    ob::{self, Name, ObjectAttributes, ObjectType},
};

exports![ExCreateCallback, ExRegisterCallback, ExUnregisterCallback, ExNotifyCallback];

/// Length of the body of a callback object and of a registration. Opaque: nothing is documented.
const OBJECT_BYTES: u64 = 0x28;
const REGISTRATION_BYTES: u64 = 0x30;

/// Objects that the system creates. Source: `wdm/nf-wdm-excreatecallback`,
/// "Using a System-Defined Callback Object".
const SYSTEM_OBJECTS: [&str; 3] =
    [r"\Callback\SetSystemTime", r"\Callback\PowerState", r"\Callback\ProcessorAdd"];

/// Callback objects and what is registered with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callbacks {
    /// Whether an object takes several routines.
    takes_several: BTreeMap<GuestAddr, bool>,
    registrations: BTreeMap<GuestAddr, Registration>,
    /// Names the next registration.
    next_order: u64,
}

/// A registered routine.
#[derive(Clone, Copy, Debug)]
struct Registration {
    object: GuestAddr,
    routine: GuestAddr,
    context: u64,
    /// The order of registration, in which the routines are called.
    order: u64,
    /// How many calls of it are under way.
    running: u32,
    /// `ExUnregisterCallback` waits for them; it is called no more.
    is_going: bool,
    registered: Seq,
}

/// Creates the objects of the system. Called once, at start.
pub(super) fn start(k: &mut Kernel) -> CallResult<()> {
    let procedures = ob::Procedures { delete: Some(delete), ..ob::Procedures::default() };
    ob::set_procedures(k, ObjectType::Callback, procedures);
    for path in SYSTEM_OBJECTS {
        let object = ob::create(k, ObjectType::Callback, OBJECT_BYTES)?;
        let named = ob::insert(k, object, &Name::new(path), None);
        assert!(named.is_ok(), "the first names differ");
        ob::make_permanent(k, object);
        k.io.callbacks.takes_several.insert(object, true);
    }
    Ok(())
}

/// The last reference to an object is gone.
fn delete(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    k.io.callbacks.takes_several.remove(&object);
    Ok(Flow::Return(0))
}

/// Routines in an image that are registered, and since when.
pub(super) fn left_in(k: &Kernel, base: GuestAddr, size_bytes: u64) -> Vec<Seq> {
    let all = k.io.callbacks.registrations.values();
    let left = all.filter(|r| r.routine.0.wrapping_sub(base.0) < size_bytes);
    left.map(|registration| registration.registered).collect()
}

/// Opens a callback object by its name, or creates it if asked to.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-excreatecallback")]
fn ExCreateCallback(
    k: &mut Kernel,
    into: GuestAddr,
    attributes: GuestAddr,
    is_to_create: bool,
    takes_several: bool,
) -> CallResult<Flow> {
    let attributes = match ObjectAttributes::capture(k, attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return answer(status),
    };
    let Some(name) = attributes.name.clone() else {
        // "Unnamed callback objects are not permitted."
        return answer(NtStatus::STATUS_UNSUCCESSFUL);
    };
    match ob::find(k, &attributes, ObjectType::Callback) {
        Ok(object) => {
            ob::reference(k, object);
            k.write_scalar(into, object.0)?;
            return answer(NtStatus::STATUS_SUCCESS);
        }
        Err(NtStatus::STATUS_OBJECT_NAME_NOT_FOUND) if is_to_create => {}
        Err(status) => return answer(status),
    }
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return answer(NtStatus::STATUS_INSUFFICIENT_RESOURCES);
    }
    let root = match ob::root_of(k, &attributes) {
        Ok(root) => root,
        Err(status) => return answer(status),
    };
    let object = ob::create(k, ObjectType::Callback, OBJECT_BYTES)?;
    k.io.callbacks.takes_several.insert(object, takes_several);
    if let Err(error) = ob::insert(k, object, &name, root) {
        return ob::dereference(k, object)?.then(k, ob::Answer(error.status()));
    }
    if attributes.attributes & OBJ_PERMANENT != 0 {
        // No handle keeps it: the name has a reference of its own.
        ob::reference(k, object);
        ob::make_permanent(k, object);
    }
    k.write_scalar(into, object.0)?;
    answer(NtStatus::STATUS_SUCCESS)
}

fn answer(status: NtStatus) -> CallResult<Flow> {
    Ok(Flow::Return(u64::from(status.0)))
}

/// A driver's pointer to a callback object.
fn require(k: &mut Kernel, object: GuestAddr) -> CallResult<()> {
    match ob::claimed(k, object)? {
        ObjectType::Callback => Ok(()),
        _ => Err(Stop::unsupported("something that is no callback object")),
    }
}

/// Registers a routine; null if the object takes one only and has it.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exregistercallback",
    limits = "the system notifies none of its own objects")]
fn ExRegisterCallback(
    k: &mut Kernel,
    object: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<GuestAddr> {
    require(k, object)?;
    let is_full = !k.io.callbacks.takes_several.get(&object).copied().unwrap_or(true)
        && k.io.callbacks.registrations.values().any(|r| r.object == object);
    if is_full || k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let registration = mm::allocate_kernel(k, BlockKind::KernelPool, REGISTRATION_BYTES, 16)?;
    let resource = Resource::Callback("callback object");
    let registered = k.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
    ob::reference(k, object);
    let order = k.io.callbacks.next_order;
    k.io.callbacks.next_order += 1;
    let entry =
        Registration { object, routine, context, order, running: 0, is_going: false, registered };
    k.io.callbacks.registrations.insert(registration, entry);
    k.order_release(registration);
    Ok(registration)
}

/// Unregisters a routine; returns when no call of it is under way.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exunregistercallback")]
fn ExUnregisterCallback(k: &mut Kernel, registration: GuestAddr) -> CallResult<Flow> {
    // One that was unregistered is gone.
    k.read_scalar::<u64>(registration)?;
    match k.io.callbacks.registrations.contains_key(&registration) {
        true => unregister(k, registration),
        false => Err(Stop::unsupported("a callback that was never registered")),
    }
}

fn unregister(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    let Some(registration) = k.io.callbacks.registrations.get_mut(&at) else {
        return Ok(Flow::Return(0));
    };
    registration.is_going = true;
    if registration.running > 0 {
        return Ok(Flow::spin(GuestAddr::NULL, Unregistering { at }));
    }
    let object = registration.object;
    k.io.callbacks.registrations.remove(&at);
    // What the routine did comes before what the driver does now.
    k.order_acquire(at);
    mm::free_kernel(k, at);
    ob::dereference(k, object)
}

/// Calls of the routine are under way.
#[derive(Clone, Debug)]
struct Unregistering {
    at: GuestAddr,
}
frame!(Unregistering, |this, k, _| unregister(k, this.at));

/// Calls the routines that are registered, at the level of the caller.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exnotifycallback")]
fn ExNotifyCallback(
    k: &mut Kernel,
    object: GuestAddr,
    first: u64,
    second: u64,
) -> CallResult<Flow> {
    require(k, object)?;
    // The object stays until the last routine has returned.
    ob::reference(k, object);
    notify(k, Notifying { object, arguments: [first, second], next_order: 0 })
}

/// Routines of an object that are called one after the other.
#[derive(Clone, Copy, Debug)]
struct Notifying {
    object: GuestAddr,
    arguments: [u64; 2],
    /// Those before were called.
    next_order: u64,
}

/// Calls the next one, in order of registration.
fn notify(k: &mut Kernel, this: Notifying) -> CallResult<Flow> {
    let Notifying { object, arguments: [first, second], next_order } = this;
    let all = k.io.callbacks.registrations.iter_mut();
    let able = all.filter(|(_, r)| r.object == object && r.order >= next_order && !r.is_going);
    let Some((&at, registration)) = able.min_by_key(|(_, registration)| registration.order) else {
        return ob::dereference(k, object);
    };
    registration.running += 1;
    let Registration { routine, context, order, .. } = *registration;
    k.order_acquire(at);
    let entry = EntryPoint::Callback("callback object's");
    let call = GuestCall::entry(routine, vec![context, first, second], entry);
    Ok(Flow::call(call, Notified { at, then: Notifying { next_order: order + 1, ..this } }))
}

/// A routine returned.
#[derive(Clone, Debug)]
struct Notified {
    at: GuestAddr,
    then: Notifying,
}
frame!(Notified, |this, k, _| {
    if let Some(registration) = k.io.callbacks.registrations.get_mut(&this.at) {
        registration.running -= 1;
    }
    k.order_release(this.at);
    notify(k, this.then)
});

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::{
        GuestCall, Kernel,
        ob::{self, LinkAtEnd, Name},
        testing::{
            block, call_by_name, carry_on, drive, export_named, kernel, start, unicode_string,
        },
    };

    const ROUTINES: [u64; 2] = [0xffff_f802_0000_1000, 0xffff_f802_0000_2000];
    const PERMANENT: u32 = 0x10;

    fn create(k: &mut Kernel, name: Option<&str>, flags: u32, args: [u64; 2]) -> (NtStatus, u64) {
        let name = name.map_or(0, |name| unicode_string(k, name, 0));
        let attributes = block(k, &[0; 0x30]);
        k.write_scalar(GuestAddr(attributes), 0x30u32).unwrap();
        k.write_scalar(GuestAddr(attributes + 0x10), name).unwrap();
        k.write_scalar(GuestAddr(attributes + 0x18), flags).unwrap();
        let into = block(k, &[0; 8]);
        let arguments = [into, attributes, args[0], args[1]];
        let status = call_by_name(k, "ExCreateCallback", &arguments).unwrap();
        let object = k.read_scalar(GuestAddr(into)).unwrap();
        (NtStatus(u32::try_from(status).unwrap()), object)
    }

    #[test]
    fn an_object_is_opened_or_created_by_its_name() {
        let mut k = kernel();
        let name = r"\Callback\Weather";
        let missing = NtStatus::STATUS_OBJECT_NAME_NOT_FOUND;
        assert_eq!(create(&mut k, Some(name), 0, [0, 1]), (missing, 0));
        assert_eq!(create(&mut k, None, 0, [1, 1]), (NtStatus::STATUS_UNSUCCESSFUL, 0));
        let (status, object) = create(&mut k, Some(name), 0, [1, 1]);
        assert_eq!(status, NtStatus::STATUS_SUCCESS);
        assert_eq!(create(&mut k, Some(name), 0, [0, 0]), (NtStatus::STATUS_SUCCESS, object));
        for _ in 0..2 {
            call_by_name(&mut k, "ObfDereferenceObject", &[object]).unwrap();
        }
        assert_eq!(create(&mut k, Some(name), 0, [0, 0]), (missing, 0));
        // A permanent one stays.
        let (_, object) = create(&mut k, Some(name), PERMANENT, [1, 1]);
        call_by_name(&mut k, "ObfDereferenceObject", &[object]).unwrap();
        assert_eq!(create(&mut k, Some(name), 0, [0, 0]), (NtStatus::STATUS_SUCCESS, object));
        for name in ["PowerState", "SetSystemTime", "ProcessorAdd"] {
            let path = format!(r"\Callback\{name}");
            assert_eq!(create(&mut k, Some(&path), 0, [0, 0]).0, NtStatus::STATUS_SUCCESS);
        }
        // What has another type is no callback object.
        let found = ob::lookup(&k, None, &Name::new(r"\Device"), LinkAtEnd::Follow);
        assert!(found.is_ok());
        let other = NtStatus::STATUS_OBJECT_TYPE_MISMATCH;
        assert_eq!(create(&mut k, Some(r"\Device"), 0, [1, 1]), (other, 0));
    }

    #[test]
    fn routines_are_called_in_order_of_registration_at_the_callers_level() {
        let mut k = kernel();
        let (_, object) = create(&mut k, Some(r"\Callback\Weather"), 0, [1, 1]);
        let register = "ExRegisterCallback";
        let [first, second] = [0, 1]
            .map(|n| call_by_name(&mut k, register, &[object, ROUTINES[n], n as u64 + 5]).unwrap());
        assert!(first != 0 && second != 0);
        let mut called = Vec::new();
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            called.push((call.target.0, call.arguments.clone(), k.irql().0));
            0
        };
        for irql in [0, 1, 2] {
            k.set_irql(nt_abi::Irql(irql));
            drive(&mut k, "ExNotifyCallback", &[object, 8, 9], &mut guest).unwrap();
        }
        k.set_irql(nt_abi::Irql(0));
        assert_eq!(call_by_name(&mut k, "ExUnregisterCallback", &[first]), Ok(0));
        drive(&mut k, "ExNotifyCallback", &[object, 8, 9], &mut guest).unwrap();
        let one = |irql: u8| (ROUTINES[0], vec![5, 8, 9], irql);
        let other = |irql: u8| (ROUTINES[1], vec![6, 8, 9], irql);
        let expected = [one(0), other(0), one(1), other(1), one(2), other(2), other(0)];
        assert_eq!(called, expected);
        assert!(call_by_name(&mut k, "ExUnregisterCallback", &[first]).is_err());
        call_by_name(&mut k, "ExUnregisterCallback", &[second]).unwrap();
        // The registrations kept the object; now the last reference goes.
        call_by_name(&mut k, "ObfDereferenceObject", &[object]).unwrap();
        assert!(call_by_name(&mut k, register, &[object, ROUTINES[0], 0]).is_err());
    }

    #[test]
    fn an_object_may_take_one_routine_only() {
        let mut k = kernel();
        let (_, object) = create(&mut k, Some(r"\Callback\Weather"), 0, [1, 0]);
        let register = [object, ROUTINES[0], 0];
        let first = call_by_name(&mut k, "ExRegisterCallback", &register).unwrap();
        assert_eq!(call_by_name(&mut k, "ExRegisterCallback", &register), Ok(0));
        call_by_name(&mut k, "ExUnregisterCallback", &[first]).unwrap();
        assert_ne!(call_by_name(&mut k, "ExRegisterCallback", &register), Ok(0));
    }

    #[test]
    fn unregistering_waits_for_the_routine() {
        let mut k = kernel();
        let (_, object) = create(&mut k, Some(r"\Callback\Weather"), 0, [1, 1]);
        let arguments = [object, ROUTINES[0], 0];
        let registration = call_by_name(&mut k, "ExRegisterCallback", &arguments).unwrap();
        let mut waited = false;
        let mut guest = |k: &mut Kernel, _: &GuestCall| {
            // Another thread unregisters while the routine runs.
            let flow = start(k, &export_named("ExUnregisterCallback"), &[registration]);
            waited = matches!(flow, Ok(crate::Flow::Spin(..)));
            0
        };
        let flow = start(&mut k, &export_named("ExNotifyCallback"), &[object, 0, 0]);
        carry_on(&mut k, flow, &mut guest).unwrap();
        assert!(waited);
        assert_eq!(call_by_name(&mut k, "ExUnregisterCallback", &[registration]), Ok(0));
    }
}
