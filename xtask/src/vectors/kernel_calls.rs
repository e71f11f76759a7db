//! Calls of a kernel that the cases of the translator make: what they do, served in place or at a
//! trap.

use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory};
use x86_jit::{Call, Reply, Services};

use super::case::WINDOW;
use super::pair::MOVED;

/// The first call lies so far behind the end of a case, and the others so far behind each other.
pub(crate) const FIRST_CALL: u64 = 0x100;
pub(crate) const CALL_BYTES: u64 = 0x10;
/// How many there are.
pub(crate) const KERNEL_CALLS: u64 = 7;
/// Calls that are served in a run.
const MOST_CALLS: usize = 200;

/// A call that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    number: u64,
    arguments: [u64; 4],
    rsp: u64,
    return_address: u64,
    events: u64,
}

/// Serves the calls of one machine.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// Where the trap range begins.
    pub(crate) start: u64,
    pub(crate) made: Vec<Made>,
}

/// What the caller finds behind a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) value: u64,
    pub(crate) is_event: bool,
}

impl Kernel {
    /// The number of the call that an address is.
    fn number_of(&self, at: u64) -> Option<u64> {
        let distance = at.checked_sub(self.start)?.checked_sub(FIRST_CALL)?;
        let is_call = distance.is_multiple_of(CALL_BYTES) && self.made.len() < MOST_CALLS;
        Some(distance / CALL_BYTES).filter(|number| is_call && *number < KERNEL_CALLS)
    }

    /// Serves a call; `None` if it is none, and the case ends.
    pub(crate) fn serve(
        &mut self,
        at: u64,
        arguments: [u64; 4],
        (rsp, return_address): (u64, u64),
        events: u64,
        memory: &mut GuestMemory,
    ) -> Option<Done> {
        let number = self.number_of(at)?;
        self.made.push(Made { number, arguments, rsp, return_address, events });
        let [first, second, ..] = arguments;
        let window = |offset| GuestAddr(MOVED + WINDOW + offset);
        let mut state = |offset, size_bytes, state| {
            memory.set_state(window(offset), size_bytes, state, None);
        };
        match number {
            2 => state(0x800 + (second & 0x78), 16, ByteState::UNDEFINED),
            3 => state(0x1000 + (second & 0x78), 8, ByteState::FREED),
            4 => state(0x400, 0x100, ByteState::DEFINED),
            5 => {
                // The window is always mapped.
                let at = window(0x800 + (second & 0x78));
                let _ = memory.write(Accessor::Machine, at, &second.to_le_bytes());
            }
            _ => {}
        }
        Some(Done { value: first.wrapping_add(number), is_event: number == 1 })
    }
}

impl Services for Kernel {
    fn call(&mut self, call: &mut Call<'_>) -> Reply {
        let at = call.at().0;
        // The last one is always left to the owner.
        if self.number_of(at).is_none_or(|number| number + 1 == KERNEL_CALLS) {
            return Reply::Leave;
        }
        let (arguments, rsp, events) = (call.arguments(), call.rsp(), call.events());
        let stack = (rsp, call.return_address().0);
        let Some(done) = self.serve(at, arguments, stack, events, call.memory()) else {
            return Reply::Leave;
        };
        if done.is_event {
            call.count_event();
        }
        Reply::Return(done.value)
    }
}
