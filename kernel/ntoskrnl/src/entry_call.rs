//! A call of a driver's routine by the kernel: how it begins, and what is judged when it returns.

use events::{Decided, EntryPoint, EntryReturn, Event, RegionFault, RegionMisuse};
use guest_memory::GuestAddr;

use crate::{
    Activation, CallResult, ExportTable, Flow, GuestCall, Kernel, Stop,
    ke::RegionDepth,
    registers::{ARGUMENTS, DIRECTION_FLAG, RAX, RSP},
};

/// Activations of a thread: more than a kernel stack has room for, unless the driver moves its
/// stack pointer back.
const MOST_NESTED: usize = 8_192;

impl Kernel {
    /// Starts guest code as the kernel calls it: arguments in registers and above the home space,
    /// the return address a trap. Source: "x64 calling convention".
    pub(crate) fn enter(&mut self, call: &GuestCall) -> CallResult<()> {
        if self.activations().len() >= MOST_NESTED {
            let what = format!("{MOST_NESTED} calls and exceptions inside of each other");
            return Err(Stop::Limit { what });
        }
        let (irql, regions) = (self.irql(), self.region_depth());
        if let Some(entry) = call.entry {
            self.emit(Event::EntryCall(entry))?;
        }
        let slots = call.arguments.len().max(4) as u64;
        let above = call.below.map_or(self.gpr(RSP), |at| at.0);
        let rsp = ((above & !0xf) - slots.next_multiple_of(2) * 8) - 8;
        self.activations().push(Activation::Entry {
            entry: call.entry,
            irql,
            routine: call.target,
            regions,
        });
        let machine = guest_memory::Accessor::Machine;
        let mut words = vec![(rsp, ExportTable::return_address().0)];
        for (index, &argument) in call.arguments.iter().enumerate() {
            match ARGUMENTS.get(index) {
                Some(&register) => self.set_gpr(register, argument),
                None => words.push((rsp + 8 + 8 * index as u64, argument)),
            }
        }
        for (at, word) in words {
            if let Err(objection) = self.memory.write(machine, GuestAddr(at), &word.to_le_bytes()) {
                return Err(self.fault(&objection));
            }
        }
        self.set_gpr(RSP, rsp);
        self.forget_jumps();
        self.regs().rip = call.target.0;
        self.regs().rflags &= !DIRECTION_FLAG;
        if matches!(call.entry, Some(EntryPoint::Unload | EntryPoint::Dispatch { .. })) {
            self.stands_still_at_entry();
        }
        Ok(())
    }

    /// A routine that the kernel called has returned.
    pub(crate) fn entry_returned(&mut self) -> CallResult<()> {
        let value = self.gpr(RAX);
        let Some(Activation::Entry { entry, irql, routine, regions }) = self.activations().pop()
        else {
            return Err(Stop::unsupported("a return into the kernel that nothing called"));
        };
        if let Some(entry) = entry {
            // A routine whose last act was a jump into an export has no return of its own.
            let left_at = self.core().cpu.trapped_from();
            let left_at = left_at.filter(|&at| self.image_at(at).is_some());
            self.core_mut().returned = left_at.unwrap_or(routine);
            let gives_status = matches!(
                entry,
                EntryPoint::DriverEntry | EntryPoint::AddDevice | EntryPoint::Dispatch { .. }
            );
            let undefined = self.core().regs.undefined.as_ref();
            if gives_status && undefined.is_some_and(|bits| bits.gpr[RAX] & 0xffff_ffff != 0) {
                self.note_undefined(Decided::Status)?;
            }
            let (irql_after, changed) = (self.irql(), self.core().irql_changed);
            let event = EntryReturn { entry, value, irql_before: irql, irql_after, changed };
            self.emit(Event::EntryReturn(event))?;
            self.check_regions(entry, regions)?;
            self.check_stack()?;
            // Judged; what follows is no consequence. A cancel routine lowers to
            // `Irp->CancelIrql`, and its caller goes on there.
            if !matches!(entry, EntryPoint::CancelRoutine { .. }) {
                self.set_irql(irql);
            }
        }
        let is_of_exception = matches!(
            entry,
            None | Some(EntryPoint::ExceptionFilter | EntryPoint::TerminationHandler)
        );
        if is_of_exception {
            // What the kernel does next is about the code that raised it, which is on the stack.
            self.core_mut().returned = GuestAddr::NULL;
        }
        self.apply(Ok(Flow::Return(value)))
    }

    /// Regions are left by whom they were entered.
    fn check_regions(&mut self, entry: EntryPoint, before: RegionDepth) -> CallResult<()> {
        let after = self.region_depth();
        let Some((region, is_deeper)) = before.difference(after) else { return Ok(()) };
        let misuse = match is_deeper {
            true => RegionMisuse::NotLeft(entry),
            false => RegionMisuse::LeftForCaller(entry),
        };
        let entered = self.current_thread().region_entered;
        self.emit(Event::RegionFault(RegionFault { region, misuse, entered })).map(|_| ())
    }

    /// What a routine that returned had on its stack must not be in the kernel's lists.
    fn check_stack(&mut self) -> CallResult<()> {
        let low = self.current_thread().stack_low;
        let rsp = GuestAddr(self.gpr(RSP));
        self.give_up_stack(low, rsp)
    }
}

#[cfg(test)]
mod tests {
    use super::MOST_NESTED;
    use crate::{
        Flow, GuestCall, Stop,
        testing::{code, kernel, with_threads},
    };

    #[test]
    fn calls_inside_of_each_other_have_a_bound_if_the_stack_has_none() {
        let mut k = kernel();
        let thread = with_threads(&mut k, 1)[0];
        let routine = code(&mut k, &[0xc3]);
        k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
        let top = k.regs().gpr[4];
        let mut enter = || {
            // The driver moves its stack pointer back each time.
            k.regs().gpr[4] = top;
            k.enter(&GuestCall::helper(guest_memory::GuestAddr(routine), Vec::new()))
        };
        for number in 0..MOST_NESTED {
            assert_eq!(enter(), Ok(()), "{number}");
        }
        let what = "8192 calls and exceptions inside of each other".to_owned();
        assert_eq!(enter(), Err(Stop::Limit { what }));
    }
}
