//! Faults of the host in translated code.

use guest_memory::GuestMemory;
use x86_interp::Registers;

use super::{Served, Translator};
use crate::{exits::Leave, faults::Again, host::STUB_BYTES, windows::Touched};

/// In the error code of a page fault: it was a store.
const WRITE: u64 = 2;

impl Translator {
    /// A fault of the host: enters the page if that is allowed, else the interpreter runs the
    /// instruction and finds out what is wrong.
    pub(super) fn serve_fault(&mut self, r: &mut Registers, m: &mut GuestMemory) -> Served {
        const PAGE_FAULT: u64 = 14;
        let context = self.code.context();
        let (host, address) = (context.fault_rip, context.fault_address);
        if host < self.code.start() + STUB_BYTES as u64 {
            assert!(host >= self.stubs.string, "no other stub touches guest memory");
            return self.serve_string_fault(r, m);
        }
        let context = self.code.context();
        let is_page = context.fault - 1 == PAGE_FAULT;
        let is_store = context.fault_error & WRITE != 0;
        let found = self.blocks.range(..=host).next_back();
        let (_, block) = found
            .filter(|(_, block)| host < block.end)
            .expect("a fault in the cache is a fault in a block");
        let offset = u32::try_from(host - block.landing).unwrap_or(u32::MAX);
        let again = block.faults.at(offset);
        let Again { owner, rip, offset } = again.expect("every host instruction has an owner");
        let resume = block.landing + u64::from(offset);
        if let Some(number) = owner.borrowed
            && let Some(register) = context.gpr.get_mut(usize::from(number))
        {
            *register = context.borrowed;
        }
        if owner.has_rcx {
            context.gpr[1] = context.borrowed_rcx;
        }
        r.rip = rip;
        self.interpreter.arrive(rip, false);
        let touched = if is_page { self.windows.touched(address) } else { Touched::Nothing };
        let has_entered = match touched {
            Touched::Data(at) | Touched::States(at) => self.windows.enter(m, at, is_store),
            Touched::Nothing => false,
        };
        // Entering a page always changes something, so the same fault does not come for ever.
        if has_entered {
            self.counts.pages += 1;
            return Served::Resume(resume);
        }
        let rsp = &mut self.code.context().gpr[4];
        *rsp = rsp.wrapping_add_signed(i64::from(owner.behind));
        Served::Go
    }

    /// The instruction begins anew, in the interpreter; next time the page may be there.
    fn serve_string_fault(&mut self, r: &mut Registers, m: &mut GuestMemory) -> Served {
        let context = self.code.context();
        let number = usize::try_from(context.exit).unwrap_or(usize::MAX);
        let (address, is_store) = (context.fault_address, context.fault_error & WRITE != 0);
        let [rax, rcx, .., r10, r11, _, _, _, _] = &mut context.gpr;
        (*rax, *rcx) = (context.saved_rax, context.borrowed_rcx);
        (*r10, *r11) = (context.saved_r10, context.borrowed);
        context.flags = context.saved_flags;
        let Some(Leave::Step { rip }) = self.exits.get(number).copied() else {
            unreachable!("string instructions leave to the interpreter")
        };
        r.rip = rip;
        self.interpreter.arrive(rip, false);
        if let Touched::Data(at) | Touched::States(at) = self.windows.touched(address)
            && self.windows.enter(m, at, is_store)
        {
            self.counts.pages += 1;
        }
        Served::Go
    }
}
