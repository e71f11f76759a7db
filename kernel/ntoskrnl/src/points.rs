//! Points in the driver's code at which the tape lets another processor go on.

use std::collections::BTreeMap;

use cpu::Grant;
use events::{
    COMPARISON, Comparison, Event, FREE_INSTRUCTION, FreeMoment, SWITCH_AFTER, SWITCH_BEFORE,
    SWITCH_POINT, SwitchPoint,
};
use guest_memory::{Accessor, GuestAddr};
use happens_before::Lane;
use nt_abi::Irql;

use crate::{CallResult, Kernel};

/// Events of a point in a loop that are reported.
const MOST_REPORTED: u32 = 64;

/// Points of a tape: one from a stranger must not cost much.
const MOST_POINTS: usize = 64;
/// The same for comparisons that are reported.
const MOST_COMPARISONS: usize = 512;

/// Turns that somebody who was interrupted lets pass, below `DISPATCH_LEVEL`, until another lane
/// arrives at a point. A thread may stand still for as long as it takes; at `DISPATCH_LEVEL` the
/// watchdog of DPCs bounds it.
const PATIENCE_TURNS: u32 = 8;

/// Points of a run, and who stands at one.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// By instruction.
    set: BTreeMap<u64, Point>,
    /// Who was interrupted at a point, and where he goes on.
    held: BTreeMap<Lane, Held>,
    /// Instructions behind points, where whoever was interrupted after one goes on.
    behind: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    how: How,
    /// At which arrival another goes on.
    arrival: u32,
    /// How often it was reached.
    reached: u32,
}

/// Where exactly somebody is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Before the instruction; between the read and the write of one that does both.
    Within,
    /// Before all of it.
    Before,
    /// After it.
    After,
    /// Before it, at any arrival, if the schedule says so.
    Free,
    /// Nobody is: what it compares is reported.
    Told,
}

#[derive(Clone, Debug)]
struct Held {
    ip: u64,
    /// What the instruction had read already.
    read: Option<(GuestAddr, Vec<u8>)>,
    /// Turns to let pass unless somebody else arrives at a point.
    patience_turns: u32,
    /// Interrupt time at which he was interrupted.
    since_100ns: u64,
}

impl Points {
    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.held.is_empty() && self.behind.is_empty()
    }
}

impl Kernel {
    /// Sets the points that the tape names, and no others.
    pub(crate) fn set_points(&mut self) {
        let kinds = [
            (FREE_INSTRUCTION, How::Free),
            (SWITCH_BEFORE, How::Before),
            (SWITCH_AFTER, How::After),
            (SWITCH_POINT, How::Within),
        ];
        let mut all = kinds.iter().map(|(kind, _)| *kind).chain([COMPARISON]);
        let has_points = all.any(|kind| self.tape.points(kind).next().is_some());
        if !has_points && self.points.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.points);
        let old: Vec<u64> = old.set.into_keys().chain(old.behind).collect();
        let base = self.images.first().map(|image| image.base);
        let address = |rva: u32| base.map(|base| base.add(u64::from(rva)).0);
        let points = kinds.into_iter().flat_map(|(kind, how)| {
            self.tape.points(kind).filter_map(move |(rva, arrival)| {
                Some((address(rva)?, Point { how, arrival, reached: 0 }))
            })
        });
        let comparisons = self.tape.points(COMPARISON).filter_map(|(rva, arrival)| {
            Some((address(rva)?, Point { how: How::Told, arrival, reached: 0 }))
        });
        let comparisons = comparisons.take(MOST_COMPARISONS);
        self.points.set = comparisons.chain(points.take(MOST_POINTS)).collect();
        for core in &mut self.cores {
            for &at in &old {
                core.cpu.clear_breakpoint(GuestAddr(at));
            }
            for &at in self.points.set.keys() {
                core.cpu.set_breakpoint(GuestAddr(at));
            }
        }
    }

    /// Whether the next instruction is a point, or somebody was interrupted just before it.
    pub(crate) fn is_at_point(&self) -> bool {
        let ip = self.core().regs.rip;
        !self.points.set.is_empty()
            && (self.points.set.contains_key(&ip)
                || self.points.held.values().any(|held| held.ip == ip))
    }

    /// A point is reached: another processor goes on, or the instruction runs.
    pub(crate) fn at_point(&mut self) -> CallResult<()> {
        let (ip, lane) = (self.core().regs.rip, self.lane());
        if self.points.held.get(&lane).is_some_and(|held| held.ip == ip) {
            return self.go_on_from_point(lane);
        }
        let Some(point) = self.points.set.get_mut(&ip) else { return self.step(Grant::None) };
        if point.how == How::Free {
            return self.at_free_instruction(lane);
        }
        point.reached = point.reached.saturating_add(1);
        if point.how == How::Told {
            let is_told = point.reached <= MOST_REPORTED;
            return self.at_comparison(is_told);
        }
        let Point { how, arrival, reached } = *point;
        let is_switch = arrival == reached;
        for held in self.points.held.iter_mut().filter(|(other, _)| **other != lane) {
            held.1.patience_turns = 0;
        }
        if is_switch || reached <= MOST_REPORTED {
            let who = Self::who(lane);
            self.emit(Event::SwitchPoint(SwitchPoint { who, reached, is_switch }))?;
        }
        if !is_switch {
            return self.step(Grant::None);
        }
        let mut read = None;
        match how {
            How::Within => read = self.half_done(),
            How::Before | How::Free | How::Told => {}
            How::After => {
                self.step(Grant::None)?;
                if self.lane() != lane {
                    // It was the last thing that ran there.
                    return Ok(());
                }
                self.stop_at_next();
            }
        }
        let ip = self.core().regs.rip;
        let is_high = self.irql() >= Irql::DISPATCH_LEVEL;
        let patience_turns = if is_high { 0 } else { PATIENCE_TURNS };
        let since_100ns = self.interrupt_time_100ns();
        self.points.held.insert(lane, Held { ip, read, patience_turns, since_100ns });
        self.let_others_go_on(since_100ns);
        Ok(())
    }

    /// Somebody else goes on before this instruction, or it runs.
    fn at_free_instruction(&mut self, lane: Lane) -> CallResult<()> {
        let ip = self.core().regs.rip;
        if !self.is_preempted_here(FreeMoment::BeforeInstruction) {
            return self.step(Grant::None);
        }
        let since_100ns = self.interrupt_time_100ns();
        let held = Held { ip, read: None, patience_turns: 0, since_100ns };
        self.points.held.insert(lane, held);
        Ok(())
    }

    /// Reports what the instruction compares, and runs it.
    fn at_comparison(&mut self, is_told: bool) -> CallResult<()> {
        if is_told {
            #[expect(clippy::indexing_slicing, reason = "`current` always names a processor")]
            let core = &mut self.cores[self.current];
            if let Some(found) = core.cpu.compared(&core.regs, &mut self.memory) {
                let cpu::Operands { left, right, size_bytes } = found;
                let at = GuestAddr(self.regs().rip);
                self.emit(Event::Comparison(Comparison { at, left, right, size_bytes }))?;
            }
        }
        self.step(Grant::None)
    }

    /// Whoever the schedule wants to go on does not let others go first.
    pub(crate) fn end_patience(&mut self, lane: Lane) {
        if let Some(held) = self.points.held.get_mut(&lane) {
            held.patience_turns = 0;
        }
    }

    /// Whoever was interrupted here has a turn again.
    fn go_on_from_point(&mut self, lane: Lane) -> CallResult<()> {
        if let Some(held) = self.points.held.get_mut(&lane)
            && held.patience_turns > 0
        {
            held.patience_turns -= 1;
            let since_100ns = held.since_100ns;
            self.let_others_go_on(since_100ns);
            return Ok(());
        }
        let held = self.points.held.remove(&lane);
        if let Some((at, bytes)) = held.and_then(|held| held.read) {
            // The instruction computes with what it has read. If the memory is gone by now, it
            // faults on its own.
            let _ = self.memory.write(Accessor::Machine, at, &bytes);
        }
        self.step(Grant::None)
    }

    /// Stops every processor before the instruction that comes next here.
    fn stop_at_next(&mut self) {
        let next = GuestAddr(self.core().regs.rip);
        self.points.behind.push(next.0);
        for core in &mut self.cores {
            core.cpu.set_breakpoint(next);
        }
    }

    /// What an instruction that changes memory without a lock has read when it is split.
    fn half_done(&mut self) -> Option<(GuestAddr, Vec<u8>)> {
        #[expect(clippy::indexing_slicing, reason = "`current` always names a processor")]
        let core = &mut self.cores[self.current];
        let operand = core.cpu.plain_update(&core.regs, &mut self.memory)?;
        let mut bytes = vec![0; usize::from(operand.size_bytes)];
        self.memory.read(Accessor::Machine, operand.at, &mut bytes).ok()?;
        Some((operand.at, bytes))
    }

    /// Ends the turn. If nobody else can run now, the time until the next timer passes.
    fn let_others_go_on(&mut self, since_100ns: u64) {
        if !self.is_contended()
            && let Some(due) = self.end_of_standstill(since_100ns)
        {
            let now = self.interrupt_time_100ns();
            self.idle_100ns += due.saturating_sub(now);
        }
        self.cut_turn();
    }
}
