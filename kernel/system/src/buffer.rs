//! Buffers of the calling process, as a command describes them.

use guest_memory::{Accessor, GuestAddr};
use ntoskrnl::{Kernel, Stop, map, mm, ob};

use crate::{BufferSpec, Content, FieldSpec, FieldValue, machine::State};

/// A buffer as it is passed to a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    /// The pointer passed.
    pub(crate) at: GuestAddr,
    /// The length passed.
    pub(crate) length_bytes: u32,
    /// It is ordinary user memory, to be given back afterwards.
    is_user: bool,
}

impl Buffer {
    /// Builds a buffer in the caller's memory; marks in it are looked for from now on.
    pub(crate) fn build(k: &mut Kernel, state: &State, spec: &BufferSpec) -> Result<Self, Stop> {
        match spec {
            BufferSpec::Null { length_bytes } => {
                Ok(Self { at: GuestAddr::NULL, length_bytes: *length_bytes, is_user: false })
            }
            BufferSpec::Canary { length_bytes } => {
                Ok(Self { at: map::CANARY.0, length_bytes: *length_bytes, is_user: false })
            }
            BufferSpec::User { length_bytes, content } => {
                let at = mm::map_user(k, u64::from(*length_bytes))?;
                let bytes = contents(k, state, content, *length_bytes)?;
                poke(k, at, &bytes);
                Ok(Self { at, length_bytes: *length_bytes, is_user: true })
            }
        }
    }

    /// What stands in it now; empty if it is no user memory, or no longer there.
    pub(crate) fn read(&self, k: &Kernel) -> Vec<u8> {
        let length = usize::try_from(self.length_bytes).unwrap_or_default();
        let mut bytes = vec![0; length];
        match self.is_user && k.memory.read(Accessor::Machine, self.at, &mut bytes).is_ok() {
            true => bytes,
            false => Vec::new(),
        }
    }

    /// Gives the memory back.
    pub(crate) fn release(&self, k: &mut Kernel) {
        if self.is_user {
            mm::unmap_user(k, self.at, u64::from(self.length_bytes));
        }
    }
}

/// The bytes of a content, cut to the buffer's length.
fn contents(
    k: &mut Kernel,
    state: &State,
    content: &Content,
    length_bytes: u32,
) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; usize::try_from(length_bytes).unwrap_or_default()];
    match content {
        Content::Bytes(given) => bytes.iter_mut().zip(given).for_each(|(to, from)| *to = *from),
        Content::Marks(marks) => {
            for mark in marks {
                put(&mut bytes, mark.offset_bytes, mark.size_bytes, mark.value);
                k.mm.add_mark(mark.value, mark.size_bytes, mark.offset_bytes);
            }
        }
        Content::Fields(fields) => {
            for &FieldSpec { offset_bytes, size_bytes, value } in fields {
                let number = number(k, state, value)?;
                put(&mut bytes, offset_bytes, size_bytes, number);
                if matches!(value, FieldValue::Mark(_)) {
                    k.mm.add_mark(number, size_bytes, offset_bytes);
                }
            }
        }
    }
    Ok(bytes)
}

/// Length of the memory behind a pointer inside a buffer.
const POINTED_BYTES: u64 = 0x1000;
/// `EVENT_ALL_ACCESS`.
const EVENT_ALL_ACCESS: u32 = 0x1f_0003;
/// Length of a `KEVENT`.
const EVENT_BYTES: u64 = 0x18;

/// What a value is in this machine.
fn number(k: &mut Kernel, state: &State, value: FieldValue) -> Result<u64, Stop> {
    let first = state.callers.first().expect("the caller has a thread from the start");
    let caller = k.ke.thread(*first);
    Ok(match value {
        FieldValue::Number(number) | FieldValue::Mark(number) => number,
        FieldValue::CallerThreadId => caller.tid,
        FieldValue::CallerProcessId => {
            let process = caller.process;
            k.ps.processes.get(&process).map_or(0, |process| process.pid)
        }
        FieldValue::CallerHandle => {
            let process = caller.process;
            let event = ob::create(k, ob::ObjectType::Event, EVENT_BYTES)?;
            let kind = ntoskrnl::ke::DispatcherType::NotificationEvent;
            k.init_dispatcher(event, kind, EVENT_BYTES, 0)?;
            ob::create_handle_of(k, process, event, EVENT_ALL_ACCESS)?.0
        }
        FieldValue::UserPointer => mm::map_user(k, POINTED_BYTES)?.0,
        FieldValue::CanaryPointer => map::CANARY.0.0,
    })
}

fn put(bytes: &mut [u8], offset_bytes: u32, size_bytes: u8, value: u64) {
    let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
    let value = value.to_le_bytes();
    let value = value.iter().take(usize::from(size_bytes.min(8)));
    let target = bytes.get_mut(start..).unwrap_or_default();
    target.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
}

/// Writes what the caller itself wrote before the call.
fn poke(k: &mut Kernel, at: GuestAddr, bytes: &[u8]) {
    let written = k.memory.write(Accessor::Machine, at, bytes);
    written.expect("the buffer was just mapped");
}
