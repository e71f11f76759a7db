//! Calls out of translated code that Rust serves in place, without the registers being put away.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use guest_memory::{Accessor, GuestAddr, GuestMemory};

use crate::{allow::Strings, context::Context};

/// Serves calls into the trap range while translated code runs.
///
/// It is asked for calls only, and only where translated code makes them: an owner must be able to
/// serve each of its calls from [`Exit::Trap`](x86_interp::Exit::Trap) as well, with the same
/// result. It must not calculate with floating point numbers, since the guest's status bits are in
/// MXCSR and x87 registers are in use. A panic goes on in the function that runs the guest.
pub trait Services {
    /// Serves a call, or leaves it to the owner.
    fn call(&mut self, call: &mut Call<'_>) -> Reply;
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It returns to where it came from with this in rax; all other registers stay.
    Return(u64),
    /// It ends the run with a trap, as if nobody had been asked. Nothing may have changed.
    Leave,
}

/// A call that is being served.
pub struct Call<'a> {
    context: &'a mut Context,
    serving: &'a Serving<'a>,
    memory: &'a mut GuestMemory,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("at", &self.at()).finish_non_exhaustive()
    }
}

impl Call<'_> {
    /// The address called, in the trap range.
    #[inline]
    pub fn at(&self) -> GuestAddr {
        GuestAddr(self.context.target)
    }

    /// Where it returns to.
    #[inline]
    pub fn return_address(&self) -> GuestAddr {
        GuestAddr(self.context.return_to)
    }

    /// rcx, rdx, r8 and r9.
    #[inline]
    pub fn arguments(&self) -> [u64; 4] {
        let [_, _, rdx, .., r8, r9, _, _, _, _, _, _] = self.context.gpr;
        [self.context.borrowed_rcx, rdx, r8, r9]
    }

    /// xmm0 to xmm3.
    #[inline]
    pub fn vector_arguments(&self) -> [u128; 4] {
        let [a, b, c, d, ..] = self.context.xmm;
        [a, b, c, d]
    }

    /// rsp, which points to the return address; the other arguments lie above.
    #[inline]
    pub fn rsp(&self) -> u64 {
        let [_, _, _, _, rsp, ..] = self.context.gpr;
        rsp
    }

    /// The memory of the guest. Anything may be done to it.
    #[inline]
    pub fn memory(&mut self) -> &mut GuestMemory {
        self.memory
    }

    /// Events so far.
    #[inline]
    pub fn events(&self) -> u64 {
        self.serving.limit_events - self.context.left + self.context.over
    }

    /// Counts an event more. Reaching the limit ends the run behind the call.
    #[inline]
    pub fn count_event(&mut self) {
        match self.context.left.checked_sub(1) {
            Some(left) => self.context.left = left,
            None => self.context.over += 1,
        }
    }
}

/// How the stubs go on that call Rust.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome;

impl Outcome {
    /// In place.
    pub(crate) const DONE: u32 = 0;
    /// The call was served; the return is left to Rust.
    pub(crate) const RETURN: u32 = 1;
    /// The owner serves it, or the interpreter what is left of the instruction.
    pub(crate) const LEAVE: u32 = 2;
    /// The instruction is done; Rust goes on behind it.
    pub(crate) const NEXT: u32 = 3;
}

/// Who serves calls during a run, and what came of it.
pub(crate) struct Serving<'a> {
    /// The addresses of the function that the stub calls and of its last argument.
    pub(crate) by: Option<(u64, u64)>,
    pub(crate) limit_events: u64,
    /// What the translations rest on.
    pub(crate) epoch: u64,
    /// The panic that ended the run.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
    services: PhantomData<&'a mut ()>,
}

impl fmt::Debug for Serving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

impl<'a> Serving<'a> {
    /// By nobody.
    pub(crate) fn none() -> Self {
        Self { by: None, limit_events: 0, epoch: 0, panic: None, services: PhantomData }
    }

    pub(crate) fn new<S: Services>(services: &'a mut S) -> Self {
        let function = (serve::<S> as *const ()).expose_provenance() as u64;
        let services = (&raw mut *services).expose_provenance() as u64;
        Self { by: Some((function, services)), ..Self::none() }
    }
}

impl Serving<'_> {
    /// Whether code may go on with the windows and the translations that there are.
    #[inline]
    fn is_as_before(&self, memory: &GuestMemory) -> bool {
        !memory.has_revoked() && memory.code_epoch() == self.epoch && !memory.is_tracking()
    }
}

/// Serves one call: the value for the guest, and in the context how to go on. The stub passes the
/// context and what the run was given. Where `S::call` is small, this is a leaf that saves no
/// register.
pub(crate) extern "win64" fn serve<S: Services>(
    context: &mut Context,
    serving: &mut Serving<'_>,
    memory: &mut GuestMemory,
    services: &mut S,
) -> u64 {
    let mut call = Call { context, serving, memory };
    // Nothing may unwind into generated code.
    let reply = catch_unwind(AssertUnwindSafe(|| services.call(&mut call)));
    let Call { context, memory, .. } = call;
    let mut failure = None;
    let (outcome, value) = match reply {
        Ok(Reply::Return(value)) => {
            let goes_on = context.left != 0 && serving.is_as_before(memory);
            (if goes_on { Outcome::DONE } else { Outcome::RETURN }, value)
        }
        Ok(Reply::Leave) => (Outcome::LEAVE, 0),
        Err(panic) => {
            failure = Some(panic);
            (Outcome::LEAVE, 0)
        }
    };
    context.outcome = u64::from(outcome);
    if failure.is_some() {
        serving.panic = failure;
    }
    value
}

/// Serves no call: it is left to the owner.
pub(crate) extern "win64" fn decline(context: &mut Context) -> u64 {
    context.outcome = u64::from(Outcome::LEAVE);
    0
}

/// Carries out a string instruction upwards, as far as nothing is in the way: an objection, an
/// undefined byte to be read, code to be changed. The registers say how far it came.
pub(crate) extern "win64" fn serve_string(
    context: &mut Context,
    serving: &mut Serving<'_>,
    memory: &mut GuestMemory,
) -> u32 {
    let [number, ..] = context.string.to_le_bytes();
    let strings = Strings::of(number);
    let moved = catch_unwind(AssertUnwindSafe(|| move_units(context, memory, strings)));
    match moved {
        Ok(false) => Outcome::LEAVE,
        Ok(true) if serving.is_as_before(memory) => Outcome::DONE,
        Ok(true) => Outcome::NEXT,
        Err(panic) => {
            serving.panic = Some(panic);
            Outcome::LEAVE
        }
    }
}

/// Whether all was done.
fn move_units(context: &mut Context, memory: &mut GuestMemory, strings: Strings) -> bool {
    let [_, _, _, _, _, _, rsi, rdi, ..] = &mut context.gpr;
    let rcx = &mut context.borrowed_rcx;
    let count = if strings.is_repeated { *rcx } else { 1 };
    let unit_bytes = u64::from(strings.unit_bytes);
    let who = Accessor::Supervisor;
    let done = if strings.is_store {
        let value = context.saved_rax.to_le_bytes();
        let unit = value.get(..usize::from(strings.unit_bytes)).unwrap_or(&value);
        memory.fill_units(who, GuestAddr(*rdi), unit, count)
    } else {
        memory.copy_units(who, (GuestAddr(*rdi), GuestAddr(*rsi)), count, unit_bytes)
    };
    *rdi = rdi.wrapping_add(done * unit_bytes);
    if !strings.is_store {
        *rsi = rsi.wrapping_add(done * unit_bytes);
    }
    if strings.is_repeated {
        *rcx -= done;
        memory.exert(done * unit_bytes);
    }
    done == count
}
