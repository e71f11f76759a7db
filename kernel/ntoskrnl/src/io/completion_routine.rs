//! Completion routines that the I/O manager stands in for: one that keeps its driver loaded, and
//! one that ends a synchronous forward.

use events::{BlockKind, IrqlLimit};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    constants::io::{SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS},
    structures::{
        io::{IO_STACK_LOCATION, IRP},
        ke::KEVENT,
    },
};
use nt_macros::export;

use super::dispatch;
use crate::{
    CallResult, Export, Flow, Kernel, Stop, TrapTarget, Wait, exports, frame, ke::DispatcherType,
    mm, ob,
};

exports![
    IoSetCompletionRoutineEx,
    IoForwardIrpSynchronously,
    SafeCompletionRoutine,
    ForwardDone,
    Keeper
];

/// A completion routine that was set with `IoSetCompletionRoutineEx`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SafeCompletion {
    device: GuestAddr,
    routine: GuestAddr,
    context: u64,
    control: u8,
}

/// A completion routine as the walk up the stack meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompletionRoutine {
    /// What is called.
    pub(crate) target: GuestAddr,
    /// With which context.
    pub(crate) context: u64,
    /// `SL_INVOKE_ON_XXX`.
    pub(crate) control: u8,
    /// The device that it keeps.
    pub(crate) keeps: Option<GuestAddr>,
    /// It is the I/O manager's own: the event is signalled and the walk ends.
    pub(crate) event: Option<GuestAddr>,
    /// It is a neighbour's, which keeps the request: the walk ends.
    pub(crate) is_keeper: bool,
}

const ALWAYS: u8 = SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL;

/// What a stack location names as its completion routine.
pub(crate) fn at(
    k: &mut Kernel,
    target: GuestAddr,
    context: u64,
    control: u8,
) -> CompletionRoutine {
    let stand_in = match k.exports.target(target) {
        Some(TrapTarget::Export(export)) => export.name,
        _ => "",
    };
    let named = CompletionRoutine {
        target,
        context,
        control,
        keeps: None,
        event: None,
        is_keeper: stand_in == Keeper::EXPORT.name,
    };
    if stand_in == ForwardDone::EXPORT.name {
        return CompletionRoutine { event: Some(GuestAddr(context)), ..named };
    }
    if stand_in != SafeCompletionRoutine::EXPORT.name {
        return named;
    }
    let Some(safe) = take(k, GuestAddr(context)) else { return named };
    let SafeCompletion { device, routine, context, control } = safe;
    CompletionRoutine { target: routine, context, control, keeps: Some(device), ..named }
}

fn take(k: &mut Kernel, context: GuestAddr) -> Option<SafeCompletion> {
    let safe = k.io.safe_completions.remove(&context)?;
    mm::free_kernel(k, context);
    Some(safe)
}

/// Sets a completion routine for the next driver's location; the device stays until it has
/// returned.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iosetcompletionroutineex")]
fn IoSetCompletionRoutineEx(
    k: &mut Kernel,
    device: GuestAddr,
    irp: GuestAddr,
    routine: GuestAddr,
    context: u64,
    on_success: bool,
    on_error: bool,
    on_cancel: bool,
) -> CallResult<NtStatus> {
    let next = next_location(k, irp)?;
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(NtStatus::STATUS_INSUFFICIENT_RESOURCES);
    }
    let mut control = 0;
    for (is_wanted, flag) in [
        (on_success, SL_INVOKE_ON_SUCCESS),
        (on_error, SL_INVOKE_ON_ERROR),
        (on_cancel, SL_INVOKE_ON_CANCEL),
    ] {
        control |= if is_wanted { flag } else { 0 };
    }
    ob::referenceable(k, device)?;
    ob::reference(k, device);
    let place = mm::allocate_kernel(k, BlockKind::KernelPool, 8, 8)?;
    let safe = SafeCompletion { device, routine, context, control };
    k.io.safe_completions.insert(place, safe);
    let stand_in = address_of(k, &SafeCompletionRoutine::EXPORT);
    set_routine(k, next, stand_in, place.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

fn next_location(k: &mut Kernel, irp: GuestAddr) -> CallResult<GuestAddr> {
    let current = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
    Ok(current.add(IO_STACK_LOCATION::SIZE_BYTES.wrapping_neg()))
}

fn set_routine(
    k: &mut Kernel,
    location: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<()> {
    k.set(location, IO_STACK_LOCATION::CompletionRoutine, routine.0)?;
    k.set(location, IO_STACK_LOCATION::Context, context)?;
    k.set(location, IO_STACK_LOCATION::Control, ALWAYS)
}

/// The driver's routine returned; its device is released, and its value goes on.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    pub(crate) device: GuestAddr,
}

frame!(Returned, |this, k, value| {
    ob::dereference_later(k, this.device)?;
    Ok(Flow::Return(value))
});

/// Sends an IRP to the next driver with the caller's parameters and waits until it is back. FALSE:
/// there is no stack location left.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-ioforwardirpsynchronously")]
fn IoForwardIrpSynchronously(
    k: &mut Kernel,
    device: GuestAddr,
    irp: GuestAddr,
) -> CallResult<Flow> {
    if k.get(irp, IRP::CurrentLocation)? <= 1 {
        return Ok(Flow::Return(0));
    }
    let current = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
    let next = next_location(k, irp)?;
    // As `IoCopyCurrentIrpStackLocationToNext`: all but the completion routine.
    k.copy(next, current, IO_STACK_LOCATION::CompletionRoutine.offset_bytes)?;
    let event = mm::allocate_kernel(k, BlockKind::KernelPool, KEVENT::SIZE_BYTES, 8)?;
    k.init_dispatcher(event, DispatcherType::NotificationEvent, KEVENT::SIZE_BYTES, 0)?;
    let stand_in = address_of(k, &ForwardDone::EXPORT);
    set_routine(k, next, stand_in, event.0)?;
    dispatch::call_driver(k, device, irp)?.then(k, Forwarded { event })
}

/// The driver below returned.
#[derive(Clone, Debug)]
struct Forwarded {
    event: GuestAddr,
}

frame!(Forwarded, |this, _, _| {
    let objects = vec![this.event];
    let wait = Wait { objects, is_all: false, due_100ns: None, is_alertable: false };
    Ok(Flow::wait(wait, Back { event: this.event }))
});

/// The IRP is back.
#[derive(Clone, Debug)]
struct Back {
    event: GuestAddr,
}

frame!(Back, |this, k, _| {
    mm::free_kernel(k, this.event);
    Ok(Flow::Return(1))
});

/// Address of a routine that no image can import.
fn address_of(k: &Kernel, export: &Export) -> GuestAddr {
    k.exports.find("ntoskrnl.exe", export.name).unwrap_or(GuestAddr::NULL)
}

/// What stands in a stack location for a routine of `IoSetCompletionRoutineEx`.
#[derive(Debug)]
struct SafeCompletionRoutine {}

/// What stands in a stack location while `IoForwardIrpSynchronously` waits.
#[derive(Debug)]
struct ForwardDone {}

/// What stands in a stack location of a request that a neighbour keeps when it comes back.
#[derive(Debug)]
struct Keeper {}

/// Lets a neighbour keep a request that comes back.
pub(super) fn set_keeper(k: &mut Kernel, location: GuestAddr, ours: GuestAddr) -> CallResult<()> {
    let stand_in = address_of(k, &Keeper::EXPORT);
    set_routine(k, location, stand_in, ours.0)
}

/// A routine that only the walk up the stack meets: a driver that calls it has taken it out of a
/// stack location that is not its own.
const fn stand_in(name: &'static str) -> Export {
    Export {
        name,
        written_as: None,
        irql: IrqlLimit { min: Irql::PASSIVE_LEVEL, max: Irql::DISPATCH_LEVEL },
        irql_note: None,
        irql_when: None,
        limits: None,
        ddi: "wdm/nc-wdm-io_completion_routine",
        call: |_| Err(Stop::unsupported("a call of the I/O manager's own completion routine")),
    }
}

impl SafeCompletionRoutine {
    const EXPORT: Export = stand_in("(completion routine that keeps its driver)");
}

impl ForwardDone {
    const EXPORT: Export = stand_in("(end of a synchronous forward)");
}

impl Keeper {
    const EXPORT: Export = stand_in("(completion routine of a lower driver)");
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::structures::io::{IO_STACK_LOCATION, IRP};

    use crate::{
        GuestCall, Kernel,
        io::test_driver::{self, DISPATCH, mark_pending},
        ob,
        testing::{Progress, call_by_name, carry_on, drive, wait_again},
    };

    const COMPLETED: u64 = 0xffff_f802_0000_1000;
    const MORE_PROCESSING: u64 = 0xc000_0016;

    #[test]
    fn a_safe_completion_routine_keeps_its_device_until_it_has_returned() {
        // Success, error, cancel; the status of the request; whether the routine runs.
        let cases = [([1, 0, 0], 0, true), ([0, 1, 1], 0, false), ([0, 1, 0], 0xc000_0001, true)];
        for (flags, status, is_called) in cases {
            let (mut k, device) = test_driver::device();
            let irp = test_driver::irp(&mut k, 2);
            // The driver that made the request has the upper location.
            k.set(GuestAddr(irp), IRP::CurrentLocation, 2).unwrap();
            let location = crate::io::irp::location_at(GuestAddr(irp), 2);
            k.set(GuestAddr(irp), IRP::CurrentStackLocation, location.0).unwrap();
            k.set(location, IO_STACK_LOCATION::DeviceObject, device.0).unwrap();
            let references = ob::object(&k, device).pointer_count;
            let [success, error, cancel] = flags;
            let arguments = [device.0, irp, COMPLETED, 77, success, error, cancel];
            let set = call_by_name(&mut k, "IoSetCompletionRoutineEx", &arguments);
            assert_eq!(set, Ok(0));
            assert_eq!(ob::object(&k, device).pointer_count, references + 1);
            let mut calls = Vec::new();
            let mut guest = |k: &mut Kernel, call: &GuestCall| {
                if call.target.0 == DISPATCH {
                    k.set(GuestAddr(irp), IRP::Status, status).unwrap();
                    return 0x103;
                }
                calls.push((call.target.0, call.arguments.clone()));
                assert_eq!(ob::object(k, device).pointer_count, references + 1);
                MORE_PROCESSING
            };
            drive(&mut k, "IofCallDriver", &[device.0, irp], &mut guest).unwrap();
            let arguments = [irp, 0];
            let done = drive(&mut k, "IofCompleteRequest", &arguments, &mut guest);
            // A request that its driver did not take back comes to the top, where nobody is.
            assert_eq!(done.is_ok(), is_called);
            let expected = (COMPLETED, vec![device.0, irp, 77]);
            assert_eq!(calls, if is_called { vec![expected] } else { Vec::new() });
            assert_eq!(ob::object(&k, device).pointer_count, references);
        }
    }

    /// A request that its driver forwards.
    fn forward(is_pending: bool) -> (Kernel, u64, Progress) {
        let (mut k, [lower, upper, _]) = test_driver::stack();
        let irp = test_driver::irp(&mut k, 2);
        let mut progress = None;
        let mut guest = |k: &mut Kernel, _: &GuestCall| {
            let location = GuestAddr(k.get(GuestAddr(irp), IRP::CurrentStackLocation).unwrap());
            k.set(location, IO_STACK_LOCATION::MajorFunction, 0x1b).unwrap();
            let flow = super::IoForwardIrpSynchronously(k, lower, GuestAddr(irp));
            let mut below = |k: &mut Kernel, call: &GuestCall| {
                assert_eq!(call.arguments[0], lower.0);
                let location = k.get(GuestAddr(irp), IRP::CurrentStackLocation).unwrap();
                let major = k.get(GuestAddr(location), IO_STACK_LOCATION::MajorFunction);
                assert_eq!(major, Ok(0x1b), "the parameters are copied");
                if is_pending {
                    mark_pending(k, irp);
                    return 0x103;
                }
                call_by_name(k, "IofCompleteRequest", &[irp, 0]).unwrap();
                0
            };
            progress = Some(carry_on(k, flow, &mut below).unwrap());
            0x103
        };
        drive(&mut k, "IofCallDriver", &[upper.0, irp], &mut guest).unwrap();
        (k, irp, progress.expect("it was forwarded"))
    }

    #[test]
    fn a_forwarded_request_is_back_when_the_routine_returns() {
        let (mut k, irp, progress) = forward(false);
        assert!(matches!(progress, Progress::Done(1)));
        // It is the driver's own again.
        assert_eq!(k.get(GuestAddr(irp), IRP::CurrentLocation), Ok(2));
        let (mut k, irp, progress) = forward(true);
        let Progress::Waits(waiting) = progress else { panic!("{progress:?}") };
        call_by_name(&mut k, "IofCompleteRequest", &[irp, 0]).unwrap();
        let progress = wait_again(&mut k, waiting, &mut |_, _| 0).unwrap();
        assert!(matches!(progress, Progress::Done(1)));
        assert_eq!(k.get(GuestAddr(irp), IRP::CurrentLocation), Ok(2));
    }

    #[test]
    fn without_a_location_nothing_is_forwarded() {
        let (mut k, device) = test_driver::device();
        let irp = test_driver::irp(&mut k, 1);
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            let result = call_by_name(k, "IoForwardIrpSynchronously", &call.arguments);
            assert_eq!(result, Ok(0));
            0x103
        };
        drive(&mut k, "IofCallDriver", &[device.0, irp], &mut guest).unwrap();
    }
}
