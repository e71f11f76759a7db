//! Callbacks about processors that are added. The machine adds none, so they hear of the processors
//! that exist, and only if they ask to.

use events::{BlockKind, EntryPoint, Event, Resource, ResourceTaken, Seq};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ke::KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT as CONTEXT};
use nt_macros::export;

use super::State;
use crate::{CallResult, Flow, GuestCall, Kernel, Stop, exports, frame};

exports![KeRegisterProcessorChangeCallback, KeDeregisterProcessorChangeCallback];

/// `KE_PROCESSOR_CHANGE_ADD_EXISTING`.
const ADD_EXISTING: u32 = 1;
/// `KE_PROCESSOR_CHANGE_NOTIFY_STATE`.
const ADD_START: u32 = 0;
const ADD_COMPLETE: u32 = 1;
const ADD_FAILURE: u32 = 2;

/// A handle holds what is passed to the callback: the change, and the status behind it.
const HANDLE_BYTES: u64 = CONTEXT::SIZE_BYTES + 0x10;
const OPERATION_STATUS: u64 = CONTEXT::SIZE_BYTES;

/// A registered callback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    routine: GuestAddr,
    context: u64,
    registered: Seq,
}

impl State {
    /// Callbacks whose routine lies in an image: since when.
    pub(crate) fn processor_callbacks_left_in(&self, base: GuestAddr, size_bytes: u64) -> Vec<Seq> {
        let all = self.processor_callbacks.values();
        let left = all.filter(|r| r.routine.0.wrapping_sub(base.0) < size_bytes);
        left.map(|registration| registration.registered).collect()
    }
}

/// Registers a callback; a handle, or null if it objects to a processor that exists.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-keregisterprocessorchangecallback",
    limits = "no processor is added")]
fn KeRegisterProcessorChangeCallback(
    k: &mut Kernel,
    routine: GuestAddr,
    context: u64,
    flags: u32,
) -> CallResult<Flow> {
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(Flow::Return(0));
    }
    let handle = k.new_block(BlockKind::KernelPool, HANDLE_BYTES)?;
    let resource = Resource::Callback("processor change");
    let registered = k.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
    k.ke.processor_callbacks.insert(handle, Registration { routine, context, registered });
    if flags & ADD_EXISTING == 0 {
        return Ok(Flow::Return(handle.0));
    }
    notify(k, Notifying { handle, state: ADD_START, next: 0, end: count(k) })
}

/// Unregisters a callback.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-kederegisterprocessorchangecallback")]
fn KeDeregisterProcessorChangeCallback(k: &mut Kernel, handle: GuestAddr) -> CallResult<()> {
    // One that was unregistered is gone.
    k.read_scalar::<u64>(handle)?;
    if k.ke.processor_callbacks.remove(&handle).is_none() {
        return Err(Stop::unsupported("a processor callback that was never registered"));
    }
    k.give_block_back(handle);
    Ok(())
}

fn count(k: &Kernel) -> u32 {
    u32::try_from(k.cores.len()).unwrap_or(u32::MAX)
}

/// The callback hears of processors, one after the other.
#[derive(Clone, Copy, Debug)]
struct Notifying {
    handle: GuestAddr,
    state: u32,
    next: u32,
    /// One past the last.
    end: u32,
}

/// Tells about the next processor, or goes on to the next state.
fn notify(k: &mut Kernel, this: Notifying) -> CallResult<Flow> {
    let Notifying { handle, state, next, end } = this;
    if next == end {
        return match state {
            ADD_START => {
                notify(k, Notifying { state: ADD_COMPLETE, next: 0, end: count(k), ..this })
            }
            ADD_COMPLETE => Ok(Flow::Return(handle.0)),
            _ => {
                k.ke.processor_callbacks.remove(&handle);
                k.give_block_back(handle);
                Ok(Flow::Return(0))
            }
        };
    }
    let Some(&Registration { routine, context, .. }) = k.ke.processor_callbacks.get(&handle) else {
        return Ok(Flow::Return(0));
    };
    k.set(handle, CONTEXT::State, state)?;
    k.set(handle, CONTEXT::NtNumber, next)?;
    k.set(handle, CONTEXT::Status, NtStatus::STATUS_SUCCESS.0)?;
    k.set(handle, CONTEXT::ProcNumberGroup, 0)?;
    k.set(handle, CONTEXT::ProcNumberNumber, next.to_le_bytes()[0])?;
    let status = handle.add(OPERATION_STATUS);
    k.write_scalar(status, NtStatus::STATUS_SUCCESS.0)?;
    let entry = EntryPoint::Callback("ProcessorCallback");
    let call = GuestCall::entry(routine, vec![context, handle.0, status.0], entry);
    Ok(Flow::call(call, Notified(this)))
}

/// The callback returned. "If the driver indicates an error, the callback is called a second time
/// for each processor for which it was called the first time, excluding" the one with the error.
#[derive(Clone, Debug)]
struct Notified(Notifying);
frame!(Notified, |Notified(this), k, _| {
    let status: u32 = k.read_scalar(this.handle.add(OPERATION_STATUS))?;
    if this.state == ADD_START && !NtStatus(status).is_success() {
        return notify(k, Notifying { state: ADD_FAILURE, next: 0, end: this.next, ..this });
    }
    notify(k, Notifying { next: this.next + 1, ..this })
});

#[cfg(test)]
mod tests {
    use events::CREATION_FAILURE;
    use guest_memory::GuestAddr;

    use crate::{
        GuestCall, Kernel,
        testing::{call_by_name, drive, kernel_of, kernel_on},
    };

    const ROUTINE: u64 = 0xffff_f802_0000_1000;
    const REGISTER: &str = "KeRegisterProcessorChangeCallback";

    /// Registers; the handle, and state and number of each call. The call of this state and number
    /// objects.
    fn register(k: &mut Kernel, flags: u64, objects: Option<(u32, u32)>) -> (u64, Vec<(u32, u32)>) {
        let mut heard = Vec::new();
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            let [context, change, status] = call.arguments[..] else { panic!("{call:?}") };
            assert_eq!((call.target, context), (GuestAddr(ROUTINE), 5));
            let state: u32 = k.read_scalar(GuestAddr(change)).unwrap();
            let number: u32 = k.read_scalar(GuestAddr(change + 4)).unwrap();
            assert_eq!(k.read_scalar(GuestAddr(change + 12)), Ok(number << 16));
            assert_eq!(k.read_scalar(GuestAddr(status)), Ok(0u32));
            if objects == Some((state, number)) {
                k.write_scalar(GuestAddr(status), 0xc000_009a_u32).unwrap();
            }
            heard.push((state, number));
            0
        };
        let handle = drive(k, REGISTER, &[ROUTINE, 5, flags], &mut guest).unwrap();
        (handle, heard)
    }

    #[test]
    fn existing_processors_are_told_if_asked_for() {
        let mut k = kernel_on(2);
        let (handle, heard) = register(&mut k, 0, None);
        assert!(handle != 0 && heard.is_empty());
        let (again, heard) = register(&mut k, 1, None);
        assert!(again != 0 && again != handle);
        assert_eq!(heard, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        for handle in [handle, again] {
            assert_eq!(
                call_by_name(&mut k, "KeDeregisterProcessorChangeCallback", &[handle]),
                Ok(0)
            );
        }
        assert!(k.ke.processor_callbacks.is_empty());
        assert!(call_by_name(&mut k, "KeDeregisterProcessorChangeCallback", &[handle]).is_err());
    }

    #[test]
    fn an_objection_takes_back_what_was_told() {
        let mut k = kernel_on(3);
        let (handle, heard) = register(&mut k, 1, Some((0, 2)));
        assert_eq!((handle, heard), (0, vec![(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]));
        let (handle, heard) = register(&mut k, 1, Some((0, 0)));
        assert_eq!((handle, heard), (0, vec![(0, 0)]));
        assert!(k.ke.processor_callbacks.is_empty());
        // In the second round nobody asks for a status.
        let (handle, heard) = register(&mut k, 1, Some((1, 0)));
        assert!(handle != 0);
        assert_eq!(heard.len(), 6);
    }

    #[test]
    fn a_registration_may_fail() {
        let fail = choice_tape::Deviation { kind: CREATION_FAILURE.number, ordinal: 0, answer: 1 };
        let mut k = kernel_of(1, [fail]);
        assert_eq!(register(&mut k, 1, None), (0, Vec::new()));
    }
}
