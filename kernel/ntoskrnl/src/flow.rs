//! How an export goes on after guest code or a wait, without a host stack.
//!
//! A routine that must call the guest or wait returns a [`Flow`] that names what happens next and a
//! list of
//! *frames*: plain data saying where to continue. They stand on the guest thread until their value
//! arrives.

use std::fmt::Debug;

use cpu::Registers;
use events::EntryPoint;
use guest_memory::GuestAddr;

use crate::{CallResult, Kernel};

/// What happens next.
#[derive(Debug)]
pub enum Flow {
    /// The value is here.
    Return(u64),
    /// Guest code is called; its return value goes to the innermost frame.
    Call(GuestCall, Vec<Box<dyn Frame>>),
    /// The thread waits; the wait status goes to the innermost frame.
    Wait(Wait, Vec<Box<dyn Frame>>),
    /// The thread spins; when others have made progress the innermost frame tries again.
    Spin(Spin, Vec<Box<dyn Frame>>),
    /// The registers of the processor were replaced (an unwind, a context restored): guest code
    /// goes on there.
    Resume,
    /// The thread ends and never returns.
    Terminate,
}

/// A call into the guest.
#[derive(Clone, Debug)]
pub struct GuestCall {
    /// The routine.
    pub target: GuestAddr,
    /// Its arguments.
    pub arguments: Vec<u64>,
    /// What it is, for events and for the check of IRQL at its return; `None` for helpers that are
    /// no entry point.
    pub entry: Option<EntryPoint>,
    /// Its stack begins below this address; `None`: below the current stack pointer.
    pub below: Option<GuestAddr>,
}

impl GuestCall {
    /// A call of a driver's entry point.
    pub fn entry(target: GuestAddr, arguments: Vec<u64>, entry: EntryPoint) -> Self {
        Self { target, arguments, entry: Some(entry), below: None }
    }

    /// A call of a helper routine, such as a comparison function.
    pub fn helper(target: GuestAddr, arguments: Vec<u64>) -> Self {
        Self { target, arguments, entry: None, below: None }
    }
}

/// A wait on dispatcher objects.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The objects; empty: only the timeout.
    pub objects: Vec<GuestAddr>,
    /// All of them, or any.
    pub is_all: bool,
    /// Virtual time at which it ends with `STATUS_TIMEOUT`.
    pub due_100ns: Option<u64>,
    /// Alertable and in user mode, as passed.
    pub is_alertable: bool,
}

/// What a thread spins on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    /// The lock, or whatever else must change first; null for none in particular.
    pub at: GuestAddr,
}

/// Where to continue: plain data on a guest thread.
pub trait Frame: Send + Sync + Debug {
    /// Goes on with the value that arrived.
    fn resume(self: Box<Self>, k: &mut Kernel, value: u64) -> CallResult<Flow>;
    /// Copies itself, for a snapshot.
    fn boxed_clone(&self) -> Box<dyn Frame>;
    /// An exception unwinds past this frame: undoes what must not stay (locks held by the kernel,
    /// IRQL).
    fn unwound(self: Box<Self>, _k: &mut Kernel) {}
}

/// Implements `Frame` for a `Clone` type from a function `fn(Self, &mut Kernel, u64) ->
/// CallResult<Flow>`.
#[macro_export]
macro_rules! frame {
    ($type:ty, $resume:expr) => {
        impl $crate::Frame for $type {
            fn resume(
                self: Box<Self>,
                k: &mut $crate::Kernel,
                value: u64,
            ) -> $crate::CallResult<$crate::Flow> {
                let resume: fn(
                    $type,
                    &mut $crate::Kernel,
                    u64,
                ) -> $crate::CallResult<$crate::Flow> = $resume;
                resume(*self, k, value)
            }

            fn boxed_clone(&self) -> Box<dyn $crate::Frame> {
                Box::new(self.clone())
            }
        }
    };
}

impl Clone for Box<dyn Frame> {
    fn clone(&self) -> Self {
        self.as_ref().boxed_clone()
    }
}

/// One entry of a thread's stack of continuations, innermost last.
#[derive(Clone, Debug)]
pub enum Activation {
    /// Guest code called an export; the value becomes rax and the call returns. The registers are
    /// those at the trap.
    Export(Box<Registers>, &'static str),
    /// Guest code was interrupted (a DPC, an APC); the value is dropped.
    Interrupted(Box<Registers>),
    /// Guest code raised an exception, which is being dispatched. Handlers look past this one.
    Raised(Box<Registers>),
    /// The kernel goes on here.
    Frame(Box<dyn Frame>),
    /// The kernel called guest code; `irql` is the level at the call.
    Entry {
        /// What was called.
        entry: Option<EntryPoint>,
        /// IRQL at the call.
        irql: nt_abi::Irql,
        /// The routine.
        routine: GuestAddr,
        /// Regions that the thread was in.
        regions: crate::ke::RegionDepth,
    },
}

impl Flow {
    /// Calls guest code and continues with `frame`.
    pub fn call(call: GuestCall, frame: impl Frame + 'static) -> Self {
        Self::Call(call, vec![Box::new(frame)])
    }

    /// Waits and continues with `frame`.
    pub fn wait(wait: Wait, frame: impl Frame + 'static) -> Self {
        Self::Wait(wait, vec![Box::new(frame)])
    }

    /// Spins and tries again with `frame`. The level stays as it is; other processors go on.
    pub fn spin(at: GuestAddr, frame: impl Frame + 'static) -> Self {
        Self::Spin(Spin { at }, vec![Box::new(frame)])
    }

    /// Continues with `frame` when this flow has its value.
    pub fn then(self, k: &mut Kernel, frame: impl Frame + 'static) -> CallResult<Self> {
        Ok(match self {
            Self::Return(value) => return Box::new(frame).resume(k, value),
            // Innermost first, so the new one goes behind.
            Self::Call(call, mut frames) => {
                frames.push(Box::new(frame));
                Self::Call(call, frames)
            }
            Self::Wait(wait, mut frames) => {
                frames.push(Box::new(frame));
                Self::Wait(wait, frames)
            }
            Self::Spin(spin, mut frames) => {
                frames.push(Box::new(frame));
                Self::Spin(spin, frames)
            }
            other @ (Self::Resume | Self::Terminate) => other,
        })
    }
}
