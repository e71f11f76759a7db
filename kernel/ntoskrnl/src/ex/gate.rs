//! What a thread waits on inside a lock that has no dispatcher object of its own.

use events::BlockKind;
use guest_memory::GuestAddr;
use nt_abi::structures::ke::KEVENT;

use crate::{CallResult, Kernel, Stop, Wait, ke::DispatcherType};

/// A synchronisation event of the kernel's own. It is lent for one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate(GuestAddr);

impl Gate {
    /// Takes a closed gate.
    pub(super) fn take(k: &mut Kernel) -> CallResult<Self> {
        let at = match k.ex.gates.pop() {
            Some(at) => at,
            None => new_event(k)?,
        };
        k.init_dispatcher(at, DispatcherType::SynchronizationEvent, KEVENT::SIZE_BYTES, 0)?;
        Ok(Self(at))
    }

    /// The wait that ends when the gate opens.
    pub(super) fn wait(self) -> Wait {
        Wait { objects: vec![self.0], is_all: false, due_100ns: None, is_alertable: false }
    }

    /// Lets the thread go on.
    pub(super) fn open(self, k: &mut Kernel) -> CallResult<()> {
        k.signal(self.0, 1)
    }

    /// Gives it back after the wait.
    pub(super) fn give_back(self, k: &mut Kernel) {
        k.ex.gates.push(self.0);
    }
}

/// Room for an event, outside the pools.
fn new_event(k: &mut Kernel) -> CallResult<GuestAddr> {
    let (provenance, arena) = (k.provenance(BlockKind::KernelPool, 0), k.arenas().kernel);
    k.hand_out(arena, KEVENT::SIZE_BYTES, 16, Some(0), provenance)
        .ok_or_else(|| Stop::Limit { what: "guest memory for a wait on a lock".to_owned() })
}
