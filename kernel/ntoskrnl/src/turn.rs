//! Whose turn it is: the processors of the machine take turns on one host thread.
//!
//! Between any two guest instructions another processor may go on. The friendly answer is a fair
//! rotation; the tape may end a turn after any instruction or at any kernel call, and choose who is
//! next. Where it ends one at a kernel call, see `preempt`.

use choice_tape::Switch;
use events::{Event, Hang, NEXT_PROCESSOR, TURN_LENGTH, TURN_LENGTHS, ThreadId};
use guest_memory::GuestAddr;
use happens_before::Lane;
use nt_abi::Irql;

use crate::{CallResult, Kernel, Stop};

/// Events of a fair turn while others could run: a tenth of a millisecond.
const FAIR_TURN_EVENTS: u64 = 1_000;

/// How long the current processor goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The event clock at which it ends; 0 if it is over.
    pub(crate) ends_events: u64,
    /// Instructions of all turns so far that were counted.
    pub counted_instructions: u64,
    /// Ends after so many instructions instead.
    pub(crate) instructions: Option<u32>,
    /// The tape ended it, so that below `DISPATCH_LEVEL` another thread of equal priority goes on.
    pub(crate) was_cut: bool,
    /// How often time passed so far while a thread stood still.
    pub(crate) standstills: u32,
    /// Who goes on instead, if the tape said so.
    pub(crate) next: Option<Lane>,
}

impl Kernel {
    /// Makes a processor the current one.
    pub(crate) fn enter_processor(&mut self, index: usize) {
        self.current = index;
        self.memory.set_pageable_allowed(self.irql() < Irql::DISPATCH_LEVEL);
        if let Some(id) = self.core().thread {
            let process = self.ke.thread(id).process;
            self.enter_process(process);
        }
    }

    /// Whether the turn of the current processor is over.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.turn.ends_events <= self.clock.events || self.turn.instructions == Some(0)
    }

    /// Whether anybody else could run now.
    pub(crate) fn is_contended(&self) -> bool {
        self.ke.has_ready()
            || (0..self.cores.len()).any(|at| at != self.current && self.is_runnable(at))
    }

    /// Whether a processor has anything to do that is not in vain.
    pub(crate) fn is_runnable(&self, index: usize) -> bool {
        let Some(core) = self.cores.get(index) else { return false };
        if self.has_deliverable_interrupt(index) || self.has_deliverable_dpc(index) {
            return true;
        }
        let is_low = core.irql < Irql::DISPATCH_LEVEL;
        match core.thread {
            Some(id) => {
                let is_vain = self.ke.thread(id).spins_in_vain();
                !is_vain || (is_low && self.ke.has_ready_for(core.index))
            }
            None => self.ke.has_ready_for(core.index),
        }
    }

    /// Gives the turn to the next processor that can run; false if there is none.
    pub(crate) fn begin_turn(&mut self) -> bool {
        let count = self.cores.len();
        let rotation = (1..=count).map(|step| (self.current + step) % count);
        let able: Vec<usize> = rotation.filter(|&index| self.is_runnable(index)).collect();
        let wanted = self.turn.next.and_then(|lane| self.processor_for(lane, &able));
        let Some(next) = wanted.or_else(|| self.choose_processor(&able)) else { return false };
        let is_wanted = wanted.is_some_and(|at| self.next_lane(at) != self.turn.next);
        // Who was cut short makes room for an equal only on its own processor; on another one it
        // does not stand in the way.
        let was_cut = self.turn.was_cut && next == self.current;
        if next != self.current {
            self.enter_processor(next);
        }
        let is_contended = able.len() > 1 || self.ke.has_ready();
        let instructions = if is_contended { self.ask(TURN_LENGTH, TURN_LENGTHS) } else { 0 };
        let length_events = if is_contended { FAIR_TURN_EVENTS } else { u64::MAX };
        self.turn = Turn {
            ends_events: self.clock.events.saturating_add(length_events),
            instructions: (instructions > 0).then_some(instructions),
            was_cut,
            // A processor that goes on has it already; a ready thread is still to be taken.
            next: self.turn.next.filter(|_| is_wanted),
            ..self.turn
        };
        true
    }

    /// The processor of these whose turn it is, as the tape says.
    fn choose_processor(&mut self, able: &[usize]) -> Option<usize> {
        let choice = if able.len() > 1 {
            let lane = |&index: &usize| self.next_lane(index).map_or(u64::MAX, |l| l.0.into());
            let lanes: Vec<u64> = able.iter().map(lane).collect();
            self.tape.ask_who(NEXT_PROCESSOR, Switch::EndOfTurn, &lanes)
        } else {
            0
        };
        able.get(choice as usize).copied()
    }

    /// What a processor would run now.
    pub(crate) fn next_lane(&self, index: usize) -> Option<Lane> {
        let core = self.cores.get(index)?;
        if self.has_deliverable_interrupt(index) {
            return Some(Self::lane_of_interrupts(core.index));
        }
        if self.has_deliverable_dpc(index) {
            return Some(Self::lane_of_dpcs(core.index));
        }
        let running = core.thread.filter(|&id| {
            let is_low = core.irql < Irql::DISPATCH_LEVEL;
            let is_vain = self.ke.thread(id).spins_in_vain();
            !(is_vain && is_low && self.ke.has_ready_for(core.index))
        });
        match running {
            Some(id) => Some(core.lanes.last().copied().unwrap_or(Self::lane_of_thread(id))),
            None => self.ke.best_ready(core.index, None).map(Self::lane_of_thread),
        }
    }

    /// The processor on which a lane can go on: where it is, or for a ready thread one that is
    /// idle, or this one.
    fn processor_for(&self, lane: Lane, able: &[usize]) -> Option<usize> {
        if let Some(&at) = able.iter().find(|&&at| self.next_lane(at) == Some(lane)) {
            return Some(at);
        }
        let id = self.ke.ready_threads().find(|&id| Self::lane_of_thread(id) == lane)?;
        able.iter().copied().find(|&at| self.may_take(at, id))
    }

    /// Whether a processor may take a ready thread now: it is idle, or it is the current one and
    /// what it runs may make room.
    pub(crate) fn may_take(&self, index: usize, id: ThreadId) -> bool {
        let Some(core) = self.cores.get(index) else { return false };
        let thread = self.ke.thread(id);
        let is_able = core.irql < Irql::DISPATCH_LEVEL && thread.affinity >> core.index & 1 != 0;
        let makes_room = match core.thread {
            Some(running) => {
                index == self.current && self.ke.thread(running).priority <= thread.priority
            }
            None => true,
        };
        is_able && makes_room
    }

    /// Whether the tape wants this thread next; takes note that it got its way.
    pub(crate) fn take_wanted(&mut self) -> Option<ThreadId> {
        let lane = self.turn.next.take()?;
        self.ke.ready_threads().find(|&id| Self::lane_of_thread(id) == lane)
    }

    /// Somebody who could not run before can run now: a turn without end gets one.
    pub(crate) fn bound_turn(&mut self) {
        let fair = self.clock.events.saturating_add(FAIR_TURN_EVENTS);
        self.turn.ends_events = self.turn.ends_events.min(fair);
    }

    /// A turn that began while nobody else could run ends some time after somebody can.
    pub(crate) fn bound_turn_if_contended(&mut self) {
        if self.turn.ends_events == u64::MAX && self.is_contended() {
            self.bound_turn();
        }
    }

    /// Ends the turn of the current processor early: whoever is its equal goes on.
    pub(crate) fn cut_turn(&mut self) {
        self.turn =
            Turn { ends_events: 0, instructions: None, was_cut: true, next: None, ..self.turn };
    }

    /// Ends the turn of the current processor.
    pub(crate) fn end_turn(&mut self) {
        self.turn = Turn { ends_events: 0, instructions: None, ..self.turn };
    }

    /// The current processor has done something that spinning processors may have waited for.
    pub(crate) fn note_progress(&mut self) {
        if self.ke.spinning == 0 {
            return;
        }
        let current = self.core().thread;
        for thread in self.ke.threads.values_mut() {
            if let Some(spin) = &mut thread.spin
                && Some(thread.id) != current
            {
                spin.is_vain = false;
            }
        }
    }

    /// A processor that spins at `DISPATCH_LEVEL` or above: it runs no other thread.
    pub(crate) fn stuck_processor(&self) -> Option<usize> {
        let spins = |id| self.ke.thread(id).spin.is_some();
        self.cores
            .iter()
            .position(|core| core.irql >= Irql::DISPATCH_LEVEL && core.thread.is_some_and(spins))
    }

    /// Nothing can run any more. A processor that spins is a hang.
    pub(crate) fn report_hang(&mut self) -> CallResult<()> {
        let Some(index) = self.stuck_processor() else { return Ok(()) };
        self.enter_processor(index);
        let spin = self.core().thread.and_then(|id| self.ke.thread(id).spin);
        let at = spin.map_or(GuestAddr::NULL, |spin| spin.on.at);
        let holder = self.ke.spin_lock_holder(at).map(|holder| (holder.thread, holder.acquired));
        self.emit(Event::Hang(Hang { at, holder }))?;
        // DPC_WATCHDOG_VIOLATION: "the system cumulatively spent an extended period of time at
        // DISPATCH_LEVEL or above".
        Err(Stop::bug_check(0x133, [1, 0, 0, 0]))
    }
}
