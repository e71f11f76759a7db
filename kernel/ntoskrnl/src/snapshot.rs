//! Capturing and restoring a whole machine.
//!
//! Memory by its touched granules; the rest is plain data that is copied.

use choice_tape::Tape;
use cpu::{Clock, Registers};
use events::{Observer, Origin, Seq, ThreadId};
use guest_memory::{GuestAddr, Snapshot as MemorySnapshot};
use happens_before::Lane;
use nt_abi::Irql;

use crate::{
    Call, ExportTable, Kernel, LoadedImage, TraceEntry, ex, io, ke, mm, ob, ps, rtl, turn::Turn,
};

/// A captured machine.
#[derive(Debug)]
pub struct KernelSnapshot {
    exports: ExportTable,
    observer: Box<dyn Observer>,
    memory: MemorySnapshot,
    cores: Vec<CoreState>,
    current: usize,
    turn: Turn,
    clock: Clock,
    idle_100ns: u64,
    last_seq: Seq,
    call_digest: u64,
    images: Vec<LoadedImage>,
    debug_output: Vec<String>,
    trace: Vec<TraceEntry>,
    recorded: Vec<(Origin, Vec<(GuestAddr, bool)>)>,
    rtl: rtl::State,
    ke: ke::State,
    ex: ex::State,
    mm: mm::State,
    ob: ob::State,
    ps: ps::State,
    io: io::State,
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
            exports: self.exports.clone(),
            observer: self.observer.boxed_clone(),
            cores: cores.collect(),
            memory: self.memory.capture(),
            current: self.current,
            turn: self.turn,
            clock: self.clock,
            idle_100ns: self.idle_100ns,
            last_seq: self.last_seq,
            call_digest: self.call_digest,
            images: self.images.clone(),
            debug_output: self.debug_output.clone(),
            trace: self.trace.clone(),
            recorded: self.recorded.clone(),
            rtl: self.rtl.clone(),
            ke: self.ke.clone(),
            ex: self.ex.clone(),
            mm: self.mm.clone(),
            ob: self.ob.clone(),
            ps: self.ps.clone(),
            io: self.io.clone(),
        }
    }

    /// Goes back to a captured state, with another tape from there on.
    pub fn restore(&mut self, snapshot: &KernelSnapshot, tape: Tape) {
        self.tape = tape;
        self.exports.clone_from(&snapshot.exports);
        self.observer = snapshot.observer.boxed_clone();
        self.memory.restore(&snapshot.memory);
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
            let thread = state.thread.and_then(|id| snapshot.ke.threads.get(&id));
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
        self.images.clone_from(&snapshot.images);
        self.debug_output.clone_from(&snapshot.debug_output);
        self.trace.clone_from(&snapshot.trace);
        self.recorded.clone_from(&snapshot.recorded);
        self.rtl.clone_from(&snapshot.rtl);
        self.ke.clone_from(&snapshot.ke);
        self.ex.clone_from(&snapshot.ex);
        self.mm.clone_from(&snapshot.mm);
        self.ob.clone_from(&snapshot.ob);
        self.ps.clone_from(&snapshot.ps);
        self.io.clone_from(&snapshot.io);
        self.set_points();
    }
}
