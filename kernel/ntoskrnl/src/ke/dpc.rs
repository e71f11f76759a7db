//! Deferred procedure calls: a queue per processor, drained before its level drops below
//! `DISPATCH_LEVEL`.

use std::collections::{BTreeMap, VecDeque};

use events::{EntryPoint, Event, KeptKind, Resource, ResourceTaken, Seq};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus, structures::ke::KDPC};
use nt_macros::export;

use super::State;
use crate::{
    Activation, CallResult, Flow, GuestCall, Kernel, MAX_PROCESSORS, Stop, exports, frame,
    registers::INTERRUPT_FLAG,
};

exports![
    KeFlushQueuedDpcs,
    KeInitializeDpc,
    KeInitializeThreadedDpc,
    KeInsertQueueDpc,
    KeRemoveQueueDpc,
    KeSetImportanceDpc,
    KeSetTargetProcessorDpc,
    KeSetTargetProcessorDpcEx
];

/// `DPC_NORMAL` object type, as debuggers show it.
const DPC_OBJECT: u8 = 0x13;
/// `ThreadedDpcObject`, as debuggers show it.
const THREADED_DPC_OBJECT: u8 = 0x1a;
/// What a targeted DPC adds to the processor in `KDPC.Number`, as debuggers show it.
const TARGETED: u16 = 0x500;

/// Queued DPCs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues {
    /// By processor, first to run first.
    lists: [VecDeque<GuestAddr>; MAX_PROCESSORS as usize],
    /// Where each is, and why.
    places: BTreeMap<GuestAddr, Source>,
}

/// What queued a DPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The processor that queued it, or set its timer; then the one that has it.
    pub(crate) processor: u8,
    /// When it was queued, or its timer set.
    pub(crate) since: Seq,
}

impl State {
    /// Whether a DPC is queued.
    pub(crate) fn is_dpc_queued(&self, dpc: GuestAddr) -> bool {
        self.dpcs.contains(dpc)
    }

    /// Queued DPCs, and since when.
    pub(crate) fn queued_dpcs(&self) -> impl ExactSizeIterator<Item = (GuestAddr, Seq)> + '_ {
        self.dpcs.places.iter().map(|(&dpc, source)| (dpc, source.since))
    }
}

impl Queues {
    /// Whether a DPC is queued anywhere.
    pub(crate) fn contains(&self, dpc: GuestAddr) -> bool {
        self.places.contains_key(&dpc)
    }

    /// Whether none is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn is_empty_on(&self, processor: usize) -> bool {
        self.lists.get(processor).is_none_or(VecDeque::is_empty)
    }

    fn push(&mut self, dpc: GuestAddr, source: Source, is_first: bool) {
        let Some(list) = self.lists.get_mut(usize::from(source.processor)) else { return };
        if is_first {
            list.push_front(dpc);
        } else {
            list.push_back(dpc);
        }
        self.places.insert(dpc, source);
    }

    fn pop(&mut self, processor: u8) -> Option<GuestAddr> {
        let dpc = self.lists.get_mut(usize::from(processor))?.pop_front()?;
        self.places.remove(&dpc);
        Some(dpc)
    }

    fn remove(&mut self, dpc: GuestAddr) -> bool {
        let Some(source) = self.places.remove(&dpc) else { return false };
        if let Some(list) = self.lists.get_mut(usize::from(source.processor)) {
            list.retain(|&queued| queued != dpc);
        }
        true
    }
}

/// Initialises a DPC object.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializedpc")]
fn KeInitializeDpc(
    k: &mut Kernel,
    dpc: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<()> {
    initialize(k, dpc, DPC_OBJECT, (routine, context))
}

/// Initialises a threaded DPC. "If threaded DPCs are disabled, they run as ordinary ones": that is
/// what every driver must expect, and what happens here.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializethreadeddpc",
    limits = "runs as an ordinary DPC")]
fn KeInitializeThreadedDpc(
    k: &mut Kernel,
    dpc: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<()> {
    initialize(k, dpc, THREADED_DPC_OBJECT, (routine, context))
}

/// Initialises a DPC object of the kernel's own.
pub(crate) fn initialize_dpc(k: &mut Kernel, dpc: GuestAddr, routine: GuestAddr) -> CallResult<()> {
    initialize(k, dpc, DPC_OBJECT, (routine, 0))
}

fn initialize(
    k: &mut Kernel,
    dpc: GuestAddr,
    object: u8,
    (routine, context): (GuestAddr, u64),
) -> CallResult<()> {
    k.initialize_kept(dpc, KeptKind::Dpc)?;
    k.set(dpc, KDPC::Type, object)?;
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
    // What asks for the DPC comes before it, also if it is queued already.
    k.order_release(dpc);
    k.require_dpc(dpc)?;
    if k.ke.dpcs.contains(dpc) {
        return Ok(false);
    }
    let since =
        k.emit(Event::ResourceTaken(ResourceTaken { resource: Resource::Running("DPC") }))?;
    let processor = k.core().index;
    k.queue_dpc(dpc, (first, second), Source { processor, since })
}

/// Takes a DPC off the queue; FALSE if it was not there.
#[export(irql = .., ddi = "wdm/nf-wdm-keremovequeuedpc")]
fn KeRemoveQueueDpc(k: &mut Kernel, dpc: GuestAddr) -> CallResult<bool> {
    let was_queued = k.ke.dpcs.remove(dpc);
    if was_queued {
        k.set(dpc, KDPC::DpcData, 0)?;
    }
    Ok(was_queued)
}

/// Returns when every DPC that was queued has run, on every processor.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-keflushqueueddpcs")]
fn KeFlushQueuedDpcs(k: &mut Kernel) -> CallResult<Flow> {
    // Below DISPATCH_LEVEL they run before the caller's next instruction, unless it shut them out.
    if !k.ke.dpcs.is_empty() && k.core().regs.rflags & INTERRUPT_FLAG == 0 {
        return Err(Stop::unsupported("KeFlushQueuedDpcs with interrupts disabled"));
    }
    flush(k)
}

/// A thread that waits until DPCs have run.
#[derive(Clone, Debug)]
struct Flushing;
frame!(Flushing, |_, k, _| flush(k));

/// Waits until every DPC that is queued has run, on every processor.
pub(crate) fn flush(k: &mut Kernel) -> CallResult<Flow> {
    let is_busy = !k.ke.dpcs.is_empty() || k.cores.iter().any(|core| core.dpc.is_some());
    if is_busy {
        return Ok(Flow::spin(GuestAddr::NULL, Flushing));
    }
    // What the DPCs did comes before what the caller does now.
    let processors: Vec<GuestAddr> = k.cores.iter().map(|core| core.control).collect();
    for processor in processors {
        k.order_acquire(processor);
    }
    Ok(Flow::Return(0))
}

/// Sets where in the queue it goes: high importance to the front.
#[export(irql = .., ddi = "wdm/nf-wdm-kesetimportancedpc")]
fn KeSetImportanceDpc(k: &mut Kernel, dpc: GuestAddr, importance: u32) -> CallResult<()> {
    k.set(dpc, KDPC::Importance, u8::try_from(importance).unwrap_or(1))
}

/// Sets the processor that runs it.
#[export(irql = .., ddi = "wdm/nf-wdm-kesettargetprocessordpc")]
fn KeSetTargetProcessorDpc(k: &mut Kernel, dpc: GuestAddr, number: u8) -> CallResult<()> {
    k.set(dpc, KDPC::Number, u16::from(number) + TARGETED)
}

/// Sets the processor that runs it, by group and number (`PROCESSOR_NUMBER`).
#[export(irql = .., ddi = "wdm/nf-wdm-kesettargetprocessordpcex")]
fn KeSetTargetProcessorDpcEx(
    k: &mut Kernel,
    dpc: GuestAddr,
    processor: GuestAddr,
) -> CallResult<NtStatus> {
    let group: u16 = k.read_scalar(processor)?;
    let number: u8 = k.read_scalar(processor.add(2))?;
    let reserved: u8 = k.read_scalar(processor.add(3))?;
    if group != 0 || reserved != 0 || usize::from(number) >= k.cores.len() {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    k.set(dpc, KDPC::Number, u16::from(number) + TARGETED)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

impl Kernel {
    /// Checks that a driver's pointer is to a DPC that was initialised, in resident memory.
    pub(crate) fn require_dpc(&mut self, dpc: GuestAddr) -> CallResult<()> {
        if ![DPC_OBJECT, THREADED_DPC_OBJECT].contains(&self.get(dpc, KDPC::Type)?) {
            return Err(self.not_initialized(dpc, KeptKind::Dpc));
        }
        self.require_resident(KeptKind::Dpc, dpc, KDPC::SIZE_BYTES)
    }

    /// Queues a DPC object; false if it is queued already. An untargeted one goes to the processor
    /// that queued it, or that set its timer.
    pub(crate) fn queue_dpc(
        &mut self,
        dpc: GuestAddr,
        (first, second): (u64, u64),
        source: Source,
    ) -> CallResult<bool> {
        if self.ke.dpcs.contains(dpc) {
            return Ok(false);
        }
        let number = self.get(dpc, KDPC::Number)?;
        let target = number.checked_sub(TARGETED).map(|number| number.to_le_bytes()[0]);
        let target = target.unwrap_or(source.processor);
        if usize::from(target) >= self.cores.len() {
            // TIMER_OR_DPC_INVALID: "the processor number of the DPC is not correct".
            let count = self.cores.len() as u64;
            return Err(Stop::bug_check(0xc7, [3, dpc.0, u64::from(target), count]));
        }
        self.set(dpc, KDPC::SystemArgument1, first)?;
        self.set(dpc, KDPC::SystemArgument2, second)?;
        self.set(dpc, KDPC::DpcData, 1)?;
        // HighImportance goes to the front of the queue.
        let is_first = self.get(dpc, KDPC::Importance)? == 2;
        self.ke.dpcs.push(dpc, Source { processor: target, ..source }, is_first);
        if usize::from(target) != self.current {
            self.bound_turn();
        }
        Ok(true)
    }

    /// Whether a processor's level lets a queued DPC run on it.
    pub(crate) fn has_deliverable_dpc(&self, processor: usize) -> bool {
        let Some(core) = self.cores.get(processor) else { return false };
        core.irql < Irql::DISPATCH_LEVEL
            && !self.ke.dpcs.is_empty_on(processor)
            && (core.thread.is_none() || core.regs.rflags & INTERRUPT_FLAG != 0)
    }

    /// What runs next stands on top of what the current thread does.
    pub(crate) fn push_interruption(&mut self) {
        let id = self.core().thread.expect("a thread is interrupted");
        if self.ke.thread(id).spin.is_some() {
            // It tries again when the value of the interruption arrives.
            self.ke.set_spin(id, None);
            return;
        }
        let regs = Box::new(self.core().regs.clone());
        self.activations().push(Activation::Interrupted(regs));
    }

    /// Starts the next DPC of the current processor if its level allows it; says whether it did.
    pub(crate) fn deliver_dpc(&mut self) -> CallResult<bool> {
        if !self.has_deliverable_dpc(self.current) {
            return Ok(false);
        }
        let irql = self.irql();
        let lane = Self::lane_of_dpcs(self.core().index);
        self.core_mut().lanes.push(lane);
        if self.core().thread.is_some() {
            self.push_interruption();
            let flow = next_dpc(self, DpcDone { irql });
            self.apply(flow)?;
        } else {
            let idle = self.ke.idle_threads.get(self.current).copied();
            let idle = idle.ok_or_else(|| Stop::unsupported("a DPC without a processor"))?;
            self.begin_here(idle, |k| next_dpc(k, DpcDone { irql }))?;
        }
        Ok(true)
    }
}

/// A DPC routine has returned; the level it interrupted.
#[derive(Clone, Debug)]
struct DpcDone {
    irql: Irql,
}
frame!(DpcDone, |this, k, _| {
    match k.core().dpc.and_then(|dpc| k.ex_timer_of(dpc)) {
        Some(timer) => k.ex_timer_called(timer)?.then(k, NextDpc { done: this }),
        None => next_dpc(k, this),
    }
});

/// What the end of a DPC leads to is done.
#[derive(Clone, Debug)]
struct NextDpc {
    done: DpcDone,
}
frame!(NextDpc, |this, k, _| next_dpc(k, this.done));

/// Runs the next DPC, or goes back to the level that was interrupted.
fn next_dpc(k: &mut Kernel, done: DpcDone) -> CallResult<Flow> {
    let processor = k.core().index;
    let Some(dpc) = k.ke.dpcs.pop(processor) else {
        k.core_mut().dpc = None;
        k.set_irql(done.irql);
        k.core_mut().lanes.pop();
        return Ok(Flow::Return(0));
    };
    k.core_mut().dpc = Some(dpc);
    k.set_irql(Irql::DISPATCH_LEVEL);
    k.order_acquire(dpc);
    // From here on the object may be freed or queued again.
    k.set(dpc, KDPC::DpcData, 0)?;
    let target = GuestAddr(k.get(dpc, KDPC::DeferredRoutine)?);
    let context = k.get(dpc, KDPC::DeferredContext)?;
    let arguments = match k.ex_timer_of(dpc) {
        Some(timer) => vec![timer.0, context],
        None => vec![
            dpc.0,
            context,
            k.get(dpc, KDPC::SystemArgument1)?,
            k.get(dpc, KDPC::SystemArgument2)?,
        ],
    };
    Ok(Flow::call(GuestCall::entry(target, arguments, EntryPoint::Dpc), done))
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::{
        Kernel,
        testing::{
            block, bug_check_code, call_by_name, irql_recorder, kernel_on, recorded, run_call,
            with_threads,
        },
    };

    fn dpc(k: &mut Kernel, list: u64, number: u8) -> u64 {
        let routine = irql_recorder(k, list, number);
        let at = block(k, &[0; 0x40]);
        call_by_name(k, "KeInitializeDpc", &[at, routine, 0]).unwrap();
        at
    }

    #[test]
    fn importance_decides_the_order() {
        let mut k = kernel_on(1);
        let thread = with_threads(&mut k, 1)[0];
        let list = block(&mut k, &[0; 0x40]);
        let dpcs: Vec<u64> = (1..=3).map(|number| dpc(&mut k, list, number << 4)).collect();
        call_by_name(&mut k, "KeSetImportanceDpc", &[dpcs[2], 2]).unwrap();
        for &dpc in &dpcs {
            assert_eq!(call_by_name(&mut k, "KeInsertQueueDpc", &[dpc, 0, 0]), Ok(1));
        }
        assert_eq!(call_by_name(&mut k, "KeInsertQueueDpc", &[dpcs[0], 0, 0]), Ok(0));
        assert_eq!(call_by_name(&mut k, "KeRemoveQueueDpc", &[dpcs[1]]), Ok(1));
        assert_eq!(call_by_name(&mut k, "KeRemoveQueueDpc", &[dpcs[1]]), Ok(0));
        run_call(&mut k, thread, "KeFlushQueuedDpcs", &[]).unwrap();
        assert_eq!(recorded(&mut k, list), [0x32, 0x12]);
    }

    #[test]
    fn a_target_must_exist() {
        let mut k = kernel_on(2);
        let thread = with_threads(&mut k, 1)[0];
        let list = block(&mut k, &[0; 0x40]);
        let target = dpc(&mut k, list, 0);
        let number = block(&mut k, &[0; 4]);
        let set = |k: &mut Kernel, group: u16, index: u8| {
            k.write_scalar(GuestAddr(number), group).unwrap();
            k.write_scalar(GuestAddr(number + 2), index).unwrap();
            call_by_name(k, "KeSetTargetProcessorDpcEx", &[target, number]).unwrap()
        };
        let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
        assert_eq!(set(&mut k, 1, 0), invalid);
        assert_eq!(set(&mut k, 0, 2), invalid);
        assert_eq!(set(&mut k, 0, 1), 0);
        assert_eq!(call_by_name(&mut k, "KeInsertQueueDpc", &[target, 0, 0]), Ok(1));
        run_call(&mut k, thread, "KeFlushQueuedDpcs", &[]).unwrap();
        assert_eq!(recorded(&mut k, list), [2]);
        call_by_name(&mut k, "KeSetTargetProcessorDpc", &[target, 7]).unwrap();
        let queued = call_by_name(&mut k, "KeInsertQueueDpc", &[target, 0, 0]);
        assert_eq!(bug_check_code(queued), 0xc7);
    }

    #[test]
    fn what_was_never_initialised_is_no_dpc() {
        let mut k = kernel_on(1);
        let zeros = block(&mut k, &[0; 0x40]);
        let queued = call_by_name(&mut k, "KeInsertQueueDpc", &[zeros, 0, 0]);
        assert_eq!(bug_check_code(queued), 0x0a);
    }
}
