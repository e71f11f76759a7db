//! The translator of this thread, if there is one.
//!
//! A process has one translator, on the thread that made it. All virtual processors of all machines
//! that run on that thread use it in turn; on other threads the interpreter serves. Which of them
//! runs an instruction changes nothing that anybody can see.

use std::{cell::RefCell, ops::Range};

use guest_memory::GuestMemory;
use x86_interp::Engine;
use x86_jit::{Translator, Unavailable};

use crate::{Clock, Exit, Registers};

/// What a thread has.
#[derive(Debug)]
enum Here {
    /// Nobody asked yet.
    Unknown,
    /// A translator for code with this trap range.
    Translator(Range<u64>, Box<Translator>),
    /// There will be none. It is not tried again: a process that gave up the right to executable
    /// memory does not get it back.
    Nothing,
}

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here::Unknown) };
}

/// Makes the translator of this thread.
pub(crate) fn prepare(trap: Range<u64>) -> Result<(), Unavailable> {
    HERE.with_borrow_mut(|here| {
        if let Here::Translator(own, _) = here
            && *own == trap
        {
            return Ok(());
        }
        *here = Here::Nothing;
        let translator = Translator::new(trap.clone())?;
        *here = Here::Translator(trap, Box::new(translator));
        Ok(())
    })
}

/// Runs with the translator: the exit, and the instruction that led into the trap range. `None`:
/// there is no translator for this.
pub(crate) fn run(
    engine: &mut Engine,
    (trap, stack): (&Range<u64>, &Range<u64>),
    r: &mut Registers,
    m: &mut GuestMemory,
    clock: &mut Clock,
) -> Option<(Exit, Option<u64>)> {
    // Taken out: if a panic unwinds from here, the translator goes.
    let here = HERE.replace(Here::Nothing);
    let Here::Translator(own, mut translator) = here else {
        HERE.set(here);
        return None;
    };
    let ran = (own == *trap).then(|| {
        translator.exchange_interpreter(engine);
        translator.set_stack_range(stack.clone());
        let exit = translator.run(r, m, clock);
        translator.exchange_interpreter(engine);
        (exit, translator.trapped_from())
    });
    HERE.set(Here::Translator(own, translator));
    ran
}
