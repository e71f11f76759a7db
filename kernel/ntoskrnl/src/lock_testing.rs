//! Threads and processors for the tests of locks: exports are called on a thread by hand, and what
//! they come to is looked at.

use events::{Event, LockMisuse, ThreadId};
use guest_memory::GuestAddr;

use crate::{
    Flow, Frame, Kernel, Stop,
    ke::ThreadState,
    ps,
    testing::{export_named, kernel_of, start, take_events},
};

/// What a call came to.
#[derive(Debug)]
pub(crate) enum Came {
    /// Its value.
    Value(u64),
    /// It waits for this object.
    Waits(GuestAddr, Vec<Box<dyn Frame>>),
    /// It spins.
    Spins(Vec<Box<dyn Frame>>),
    /// A bug check, or an exception's code.
    Stops(u32),
}

impl Came {
    pub(crate) fn value(self) -> u64 {
        match self {
            Self::Value(value) => value,
            other => panic!("expected a value, got {other:?}"),
        }
    }

    pub(crate) fn waits(self) -> (GuestAddr, Vec<Box<dyn Frame>>) {
        match self {
            Self::Waits(object, frames) => (object, frames),
            other => panic!("expected a wait, got {other:?}"),
        }
    }

    pub(crate) fn spins(self) -> Vec<Box<dyn Frame>> {
        match self {
            Self::Spins(frames) => frames,
            other => panic!("expected a spin, got {other:?}"),
        }
    }

    pub(crate) fn stops(self) -> u32 {
        match self {
            Self::Stops(code) => code,
            other => panic!("expected a bug check, got {other:?}"),
        }
    }
}

/// A kernel of two processors and as many threads of a user process; the first one runs on the
/// first processor.
pub(crate) fn kernel_with_threads<const N: usize>() -> (Kernel, [ThreadId; N]) {
    let mut k = kernel_of(2, []);
    let process = ps::create_process(&mut k, "Test").expect("a fresh memory has room");
    let threads = [(); N].map(|()| ps::create_thread(&mut k, process, false).expect("room"));
    be(&mut k, 0, threads[0]);
    (k, threads)
}

/// A thread goes on, on this processor.
pub(crate) fn be(k: &mut Kernel, processor: usize, thread: ThreadId) {
    k.current = processor;
    let (index, rsp) = (k.core().index, k.ke.thread(thread).stack_high.0 - 0x1000 + 8);
    k.core_mut().thread = Some(thread);
    k.regs().gpr[4] = rsp;
    k.ke.thread_mut(thread).state = ThreadState::Running(index);
}

/// Calls an export on the current thread.
pub(crate) fn ask(k: &mut Kernel, name: &str, arguments: &[u64]) -> Came {
    let flow = start(k, &export_named(name), arguments);
    came(flow)
}

/// Goes on after a wait or a spin.
pub(crate) fn go_on(k: &mut Kernel, mut frames: Vec<Box<dyn Frame>>, value: u64) -> Came {
    assert_eq!(frames.len(), 1, "one frame tries again");
    let frame = frames.pop().expect("there is one");
    came(frame.resume(k, value))
}

/// Whether a wait for the object would end now.
pub(crate) fn is_open(k: &mut Kernel, object: GuestAddr) -> bool {
    k.is_signalled(object, GuestAddr::NULL).expect("the object is there")
}

/// The misuse that was reported since the last time.
pub(crate) fn misuse(k: &mut Kernel) -> Option<LockMisuse> {
    take_events(k).iter().find_map(|event| match event {
        Event::LockFault(fault) => Some(fault.misuse),
        _ => None,
    })
}

fn came(flow: crate::CallResult<Flow>) -> Came {
    match flow {
        Ok(Flow::Return(value)) => Came::Value(value),
        Ok(Flow::Wait(wait, frames)) => {
            Came::Waits(wait.objects.first().copied().unwrap_or_default(), frames)
        }
        Ok(Flow::Spin(_, frames)) => Came::Spins(frames),
        Err(Stop::BugCheck(check)) => Came::Stops(check.code),
        Err(Stop::Exception(exception)) => Came::Stops(exception.code.0),
        other => panic!("unexpected: {other:?}"),
    }
}
