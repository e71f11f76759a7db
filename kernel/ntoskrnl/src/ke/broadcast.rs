//! `KeIpiGenericCall`: a routine on every processor at once, at `IPI_LEVEL`.

use std::collections::BTreeSet;

use events::EntryPoint;
use guest_memory::GuestAddr;
use nt_abi::Irql;
use nt_macros::export;

use crate::{CallResult, Flow, GuestCall, Kernel, exports, frame, map, registers::INTERRUPT_FLAG};

exports![KeIpiGenericCall];

/// Where the processors publish to each other what came before they met.
const BARRIER: GuestAddr = GuestAddr(map::PROCESSOR_CONTROL.0 + 0xf008);

/// A call under way.
#[derive(Clone, Debug)]
pub(crate) struct Broadcast {
    routine: GuestAddr,
    context: u64,
    /// Processors that have reached the barrier.
    gathered: BTreeSet<u8>,
    /// Processors on which the routine has returned.
    returned: BTreeSet<u8>,
}

/// Interrupts every processor and calls a routine on each; returns what it returned here, when it
/// has returned everywhere.
#[export(irql = ..=CLOCK_LEVEL, ddi = "wdm/nf-wdm-keipigenericcall",
    irql_note = "the page: below IPI_LEVEL")]
fn KeIpiGenericCall(k: &mut Kernel, routine: GuestAddr, context: u64) -> CallResult<Flow> {
    start(k, routine, context)
}

fn start(k: &mut Kernel, routine: GuestAddr, context: u64) -> CallResult<Flow> {
    if k.ke.broadcast.is_some() {
        // Another processor's call goes first, and interrupts this one.
        return Ok(Flow::spin(GuestAddr::NULL, Start { routine, context }));
    }
    let (gathered, returned) = (BTreeSet::new(), BTreeSet::new());
    *k.ke.broadcast = Some(Broadcast { routine, context, gathered, returned });
    k.bound_turn();
    let irql = k.irql();
    gather(k)?.then(k, Sent { irql })
}

/// Another call is under way.
#[derive(Clone, Debug)]
struct Start {
    routine: GuestAddr,
    context: u64,
}
frame!(Start, |this, k, _| start(k, this.routine, this.context));

/// Reaches the barrier; the value is that of the routine here.
fn gather(k: &mut Kernel) -> CallResult<Flow> {
    k.set_irql(Irql::IPI_LEVEL);
    k.order_release(BARRIER);
    let index = k.core().index;
    if let Some(broadcast) = &mut *k.ke.broadcast {
        broadcast.gathered.insert(index);
    }
    call_when_gathered(k)
}

/// "Each processor spins on a barrier until all processors have reached" it.
fn call_when_gathered(k: &mut Kernel) -> CallResult<Flow> {
    let Some(broadcast) = &*k.ke.broadcast else { return Ok(Flow::Return(0)) };
    if broadcast.gathered.len() < k.cores.len() {
        return Ok(Flow::spin(GuestAddr::NULL, Gathering));
    }
    let (routine, context) = (broadcast.routine, broadcast.context);
    k.order_acquire(BARRIER);
    let entry = EntryPoint::Callback("IpiGenericCall");
    Ok(Flow::call(GuestCall::entry(routine, vec![context], entry), Called))
}

#[derive(Clone, Debug)]
struct Gathering;
frame!(Gathering, |_, k, _| call_when_gathered(k));

/// The routine has returned on this processor.
#[derive(Clone, Debug)]
struct Called;
frame!(Called, |_, k, value| {
    k.order_release(BARRIER);
    let index = k.core().index;
    if let Some(broadcast) = &mut *k.ke.broadcast {
        broadcast.returned.insert(index);
    }
    Ok(Flow::Return(value))
});

/// The routine has returned on the processor that asked for it; "waits for all calls to complete
/// before returning".
#[derive(Clone, Debug)]
struct Sent {
    irql: Irql,
}
frame!(Sent, |this, k, value| finish(k, this.irql, value));

fn finish(k: &mut Kernel, irql: Irql, value: u64) -> CallResult<Flow> {
    let returned = k.ke.broadcast.as_ref().map_or(usize::MAX, |b| b.returned.len());
    if returned < k.cores.len() {
        return Ok(Flow::spin(GuestAddr::NULL, Finishing { irql, value }));
    }
    *k.ke.broadcast = None;
    k.order_acquire(BARRIER);
    k.set_irql(irql);
    Ok(Flow::Return(value))
}

#[derive(Clone, Debug)]
struct Finishing {
    irql: Irql,
    value: u64,
}
frame!(Finishing, |this, k, _| finish(k, this.irql, this.value));

/// What was interrupted goes on.
#[derive(Clone, Debug)]
struct Interrupted {
    irql: Irql,
}
frame!(Interrupted, |this, k, _| {
    k.set_irql(this.irql);
    k.core_mut().lanes.pop();
    Ok(Flow::Return(0))
});

impl Kernel {
    /// Whether a processor is called to the barrier and can go there.
    pub(crate) fn has_deliverable_broadcast(&self, processor: usize) -> bool {
        let Some(broadcast) = &*self.ke.broadcast else { return false };
        let Some(core) = self.cores.get(processor) else { return false };
        core.irql < Irql::IPI_LEVEL
            && !broadcast.gathered.contains(&core.index)
            && (core.thread.is_none() || core.regs.rflags & INTERRUPT_FLAG != 0)
    }

    /// Sends the current processor to the barrier if it is called; says whether it was.
    pub(crate) fn deliver_broadcast(&mut self) -> CallResult<bool> {
        if !self.has_deliverable_broadcast(self.current) {
            return Ok(false);
        }
        let irql = self.irql();
        self.interrupt_with(move |k| gather(k)?.then(k, Interrupted { irql }))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::{
        ke::interrupt::tests::{record, ret, routine, run},
        testing::{block, kernel_on, recorded, with_threads},
    };

    /// `mov rcx, routine; mov edx, 7; mov rax, export; sub rsp, 28h; call rax; add rsp, 28h`.
    fn broadcast(target: u64, export: GuestAddr) -> Vec<u8> {
        let mut bytes = vec![0x48, 0xb9];
        bytes.extend(target.to_le_bytes());
        bytes.extend([0xba, 7, 0, 0, 0, 0x48, 0xb8]);
        bytes.extend(export.0.to_le_bytes());
        bytes.extend([0x48, 0x83, 0xec, 0x28, 0xff, 0xd0, 0x48, 0x83, 0xc4, 0x28]);
        bytes
    }

    #[test]
    fn the_routine_runs_everywhere_at_ipi_level() {
        for processors in [1, 2, 4] {
            let mut k = kernel_on(processors);
            let thread = with_threads(&mut k, 1)[0];
            let list = block(&mut k, &[0; 0x40]);
            // Returns its argument.
            let answer = vec![0x89, 0xc8, 0xc3];
            let keep = vec![0x51];
            let restore = vec![0x59];
            let target = routine(&mut k, &[keep, record(list, 0x10), restore, answer]);
            let export = k.exports.find("ntoskrnl.exe", "KeIpiGenericCall").unwrap();
            let calls =
                [broadcast(target, export), vec![0x50], record(list, 0x20), vec![0x58, 0xc3]];
            let caller = routine(&mut k, &calls);
            assert_eq!(run(&mut k, thread, caller), Ok(Some(7)));
            let mut expected = vec![0x1e; usize::from(processors)];
            expected.push(0x20);
            assert_eq!(recorded(&mut k, list), expected);
            assert!(k.ke.broadcast.is_none());
            assert!(k.cores.iter().all(|core| core.irql.0 == 0 && core.lanes.is_empty()));
        }
    }

    #[test]
    fn two_callers_take_turns() {
        let mut k = kernel_on(2);
        let threads = with_threads(&mut k, 2);
        let list = block(&mut k, &[0; 0x40]);
        let target = routine(&mut k, &[record(list, 0x10), ret(1)]);
        let export = k.exports.find("ntoskrnl.exe", "KeIpiGenericCall").unwrap();
        let caller = routine(&mut k, &[broadcast(target, export), ret(3)]);
        let call = crate::GuestCall::helper(GuestAddr(caller), Vec::new());
        k.begin(threads[0], move |_| Ok(crate::Flow::Call(call, Vec::new()))).unwrap();
        assert_eq!(run(&mut k, threads[1], caller), Ok(Some(3)));
        crate::testing::result_of(&mut k, threads[0]).unwrap();
        assert_eq!(k.ke.thread(threads[0]).result, Some(3));
        assert_eq!(recorded(&mut k, list), [0x1e; 4]);
    }
}
