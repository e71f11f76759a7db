//! Deferred procedure calls.

use events::EntryPoint;
use guest_memory::GuestAddr;
use nt_abi::{Irql, structures::ke::KDPC};
use nt_macros::export;

use crate::{Activation, CallResult, Flow, GuestCall, Kernel, Stop, exports, frame};

exports![
    KeFlushQueuedDpcs,
    KeInitializeDpc,
    KeInsertQueueDpc,
    KeRemoveQueueDpc,
    KeSetImportanceDpc,
    KeSetTargetProcessorDpc
];

/// `DPC_NORMAL` object type, as debuggers show it.
const DPC_OBJECT: u8 = 0x13;
/// RFLAGS.IF.
const INTERRUPT_FLAG: u64 = 1 << 9;

/// Initialises a DPC object.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializedpc")]
fn KeInitializeDpc(
    k: &mut Kernel,
    dpc: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<()> {
    k.set(dpc, KDPC::Type, DPC_OBJECT)?;
    // MediumImportance.
    k.set(dpc, KDPC::Importance, 1)?;
    k.set(dpc, KDPC::Number, 0)?;
    k.set(dpc, KDPC::DeferredRoutine, routine.0)?;
    k.set(dpc, KDPC::DeferredContext, context)?;
    k.set(dpc, KDPC::DpcData, 0)
}

/// Queues a DPC; FALSE if it is queued already.
#[export(irql = .., ddi = "wdm/nf-wdm-keinsertqueuedpc")]
fn KeInsertQueueDpc(k: &mut Kernel, dpc: GuestAddr, first: u64, second: u64) -> CallResult<bool> {
    k.queue_dpc(dpc, first, second)
}

/// Takes a DPC off the queue; FALSE if it was not there.
#[export(irql = .., ddi = "wdm/nf-wdm-keremovequeuedpc")]
fn KeRemoveQueueDpc(k: &mut Kernel, dpc: GuestAddr) -> CallResult<bool> {
    let before = k.ke.dpcs.len();
    k.ke.dpcs.retain(|&queued| queued != dpc);
    let was_queued = k.ke.dpcs.len() != before;
    if was_queued {
        k.set(dpc, KDPC::DpcData, 0)?;
    }
    Ok(was_queued)
}

/// Returns when every DPC that was queued has run.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-keflushqueueddpcs")]
fn KeFlushQueuedDpcs(k: &mut Kernel) -> CallResult<()> {
    // Below DISPATCH_LEVEL they run before the caller's next instruction, unless it shut them out.
    if !k.ke.dpcs.is_empty() && k.core().regs.rflags & INTERRUPT_FLAG == 0 {
        return Err(Stop::unsupported("KeFlushQueuedDpcs with interrupts disabled"));
    }
    Ok(())
}

/// Sets where in the queue it goes: high importance to the front.
#[export(irql = .., ddi = "wdm/nf-wdm-kesetimportancedpc")]
fn KeSetImportanceDpc(k: &mut Kernel, dpc: GuestAddr, importance: u32) -> CallResult<()> {
    k.set(dpc, KDPC::Importance, u8::try_from(importance).unwrap_or(1))
}

/// Sets the processor that runs it.
#[export(irql = .., ddi = "wdm/nf-wdm-kesettargetprocessordpc",
    limits = "one processor: the target is only kept")]
fn KeSetTargetProcessorDpc(k: &mut Kernel, dpc: GuestAddr, number: u8) -> CallResult<()> {
    // Targeted DPCs hold the number above MAXIMUM_PROCESSORS.
    k.set(dpc, KDPC::Number, u16::from(number) + 0x500)
}

impl Kernel {
    /// Queues a DPC object; false if it is queued already.
    pub(crate) fn queue_dpc(
        &mut self,
        dpc: GuestAddr,
        first: u64,
        second: u64,
    ) -> CallResult<bool> {
        if self.ke.dpcs.contains(&dpc) {
            return Ok(false);
        }
        self.set(dpc, KDPC::SystemArgument1, first)?;
        self.set(dpc, KDPC::SystemArgument2, second)?;
        self.set(dpc, KDPC::DpcData, 1)?;
        // HighImportance goes to the front of the queue.
        if self.get(dpc, KDPC::Importance)? == 2 {
            self.ke.dpcs.push_front(dpc);
        } else {
            self.ke.dpcs.push_back(dpc);
        }
        Ok(true)
    }

    /// Starts the next DPC if the processor's level allows it; says whether it did.
    pub(crate) fn deliver_dpc(&mut self) -> CallResult<bool> {
        let can_interrupt = self.irql() < Irql::DISPATCH_LEVEL
            && (self.core().thread.is_none() || self.core().regs.rflags & INTERRUPT_FLAG != 0);
        if !can_interrupt || self.ke.dpcs.is_empty() {
            return Ok(false);
        }
        if self.core().thread.is_some() {
            let regs = Box::new(self.core().regs.clone());
            self.activations().push(Activation::Interrupted(regs));
            let flow = next_dpc(self, DpcDone { irql: self.irql() });
            self.apply(flow)?;
        } else {
            let idle = self
                .ke
                .idle_thread
                .ok_or_else(|| Stop::unsupported("a DPC without a processor"))?;
            let irql = self.irql();
            self.begin(idle, |k| next_dpc(k, DpcDone { irql }))?;
        }
        Ok(true)
    }
}

/// A DPC routine has returned; the level it interrupted.
#[derive(Clone, Debug)]
struct DpcDone {
    irql: Irql,
}
frame!(DpcDone, |this, k, _| next_dpc(k, this));

/// Runs the next DPC, or goes back to the level that was interrupted.
fn next_dpc(k: &mut Kernel, done: DpcDone) -> CallResult<Flow> {
    let Some(dpc) = k.ke.dpcs.pop_front() else {
        k.set_irql(done.irql);
        return Ok(Flow::Return(0));
    };
    k.set_irql(Irql::DISPATCH_LEVEL);
    // From here on the object may be freed or queued again.
    k.set(dpc, KDPC::DpcData, 0)?;
    let target = GuestAddr(k.get(dpc, KDPC::DeferredRoutine)?);
    let arguments = vec![
        dpc.0,
        k.get(dpc, KDPC::DeferredContext)?,
        k.get(dpc, KDPC::SystemArgument1)?,
        k.get(dpc, KDPC::SystemArgument2)?,
    ];
    Ok(Flow::call(GuestCall::entry(target, arguments, EntryPoint::Dpc), done))
}
