//! Capturing and restoring a whole machine.
//!
//! Memory by its touched granules, the state of components by the fields that changed.

use std::{any::Any, sync::Arc};

use choice_tape::Tape;
use cpu::{Clock, Registers};
use events::{Seq, ThreadId};
use guest_memory::{GuestAddr, Snapshot as MemorySnapshot};
use happens_before::Lane;
use nt_abi::Irql;
use saved::Keep;

use crate::{
    Call, ExportTable, FailedCall, Kernel, LoadedImage, TraceEntry, ex, io, ke, kernel::Recorded,
    mm, ob, ps, rtl, turn::Turn,
};

/// A captured machine.
#[derive(Debug)]
pub struct KernelSnapshot {
    exports: Arc<ExportTable>,
    observer: Box<dyn Any + Send>,
    memory: MemorySnapshot,
    cores: Vec<CoreState>,
    current: usize,
    turn: Turn,
    clock: Clock,
    idle_100ns: u64,
    last_seq: Seq,
    call_digest: u64,
    failed_call: Option<FailedCall>,
    images: Arc<Vec<LoadedImage>>,
    debug_output: Arc<Vec<String>>,
    trace: Arc<Vec<TraceEntry>>,
    recorded: Arc<Recorded>,
    rtl: rtl::StateCopy,
    ke: ke::StateCopy,
    ex: ex::StateCopy,
    mm: mm::StateCopy,
    ob: ob::StateCopy,
    ps: ps::StateCopy,
    io: io::StateCopy,
}

/// A processor without the engine's caches.
#[derive(Clone, Debug)]
struct CoreState {
    regs: Registers,
    irql: Irql,
    irql_changed: Option<Seq>,
    thread: Option<ThreadId>,
    returned: GuestAddr,
    call: Option<Call>,
    dpc: Option<GuestAddr>,
    lanes: Vec<Lane>,
    quantum_end_events: u64,
}

impl Kernel {
    /// Captures the machine between two services.
    pub fn capture(&mut self) -> KernelSnapshot {
        let cores = self.cores.iter().map(|core| CoreState {
            regs: core.regs.clone(),
            irql: core.irql,
            irql_changed: core.irql_changed,
            thread: core.thread,
            returned: core.returned,
            call: core.call,
            dpc: core.dpc,
            lanes: core.lanes.clone(),
            quantum_end_events: core.quantum_end_events,
        });
        KernelSnapshot {
            exports: self.exports.capture(),
            observer: self.observer.capture(),
            cores: cores.collect(),
            memory: self.memory.capture(),
            current: self.current,
            turn: self.turn,
            clock: self.clock,
            idle_100ns: self.idle_100ns,
            last_seq: self.last_seq,
            call_digest: self.call_digest,
            failed_call: self.failed_call,
            images: self.images.capture(),
            debug_output: self.debug_output.capture(),
            trace: self.trace.capture(),
            recorded: self.recorded.capture(),
            rtl: self.rtl.capture(),
            ke: self.ke.capture(),
            ex: self.ex.capture(),
            mm: self.mm.capture(),
            ob: self.ob.capture(),
            ps: self.ps.capture(),
            io: self.io.capture(),
        }
    }

    /// Goes back to a captured state, with another tape from there on.
    pub fn restore(&mut self, snapshot: &KernelSnapshot, tape: Tape) {
        self.tape = tape;
        self.exports.restore(&snapshot.exports);
        self.observer.restore(&*snapshot.observer);
        self.memory.restore(&snapshot.memory);
        self.ke.restore(&snapshot.ke);
        for (core, state) in self.cores.iter_mut().zip(&snapshot.cores) {
            core.regs.clone_from(&state.regs);
            core.irql = state.irql;
            core.irql_changed = state.irql_changed;
            core.thread = state.thread;
            core.returned = state.returned;
            core.call = state.call;
            core.dpc = state.dpc;
            core.lanes.clone_from(&state.lanes);
            core.quantum_end_events = state.quantum_end_events;
            let thread = state.thread.and_then(|id| self.ke.threads.get(&id));
            let stack = thread.map_or(0..0, |thread| thread.stack_low.0..thread.stack_high.0);
            core.cpu.set_stack_range(stack);
        }
        self.current = snapshot.current;
        self.memory.set_pageable_allowed(self.irql() < Irql::DISPATCH_LEVEL);
        self.turn = snapshot.turn;
        self.clock = snapshot.clock;
        self.idle_100ns = snapshot.idle_100ns;
        self.last_seq = snapshot.last_seq;
        self.call_digest = snapshot.call_digest;
        self.failed_call = snapshot.failed_call;
        self.images.restore(&snapshot.images);
        self.debug_output.restore(&snapshot.debug_output);
        self.trace.restore(&snapshot.trace);
        self.recorded.restore(&snapshot.recorded);
        self.rtl.restore(&snapshot.rtl);
        self.ex.restore(&snapshot.ex);
        self.mm.restore(&snapshot.mm);
        self.ob.restore(&snapshot.ob);
        self.ps.restore(&snapshot.ps);
        self.io.restore(&snapshot.io);
        self.set_points();
    }
}
