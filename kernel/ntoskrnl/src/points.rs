//! Points in the driver's code at which the tape lets another processor go on.

use std::collections::{BTreeMap, BTreeSet};

use choice_tape::ChoiceKind;
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

/// The kinds of points, the more important later: of two at one instruction, the later row's
/// counts.
const KINDS: [PointKind; 5] = [
    PointKind { choice: COMPARISON, how: How::Told, most: 512 },
    PointKind { choice: FREE_INSTRUCTION, how: How::Free, most: 64 },
    PointKind { choice: SWITCH_BEFORE, how: How::Before, most: 64 },
    PointKind { choice: SWITCH_AFTER, how: How::After, most: 64 },
    PointKind { choice: SWITCH_POINT, how: How::Within, most: 64 },
];

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

/// A row of [`KINDS`].
#[derive(Clone, Copy, Debug)]
struct PointKind {
    choice: ChoiceKind,
    how: How,
    /// Points of this kind that a tape may set: one from a stranger must not cost much.
    most: usize,
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
        let mut choices = KINDS.iter().map(|kind| kind.choice);
        let has_points = choices.any(|choice| self.tape.points(choice).next().is_some());
        if !has_points && self.points.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.points);
        let old: BTreeSet<u64> = old.set.into_keys().chain(old.behind).collect();
        let base = self.images.first().map(|image| image.base);
        let address = |rva: u32| base.map(|base| base.add(u64::from(rva)).0);
        let points = KINDS.iter().flat_map(|kind| {
            let of_kind = self.tape.points(kind.choice).filter_map(move |(rva, arrival)| {
                Some((address(rva)?, Point { how: kind.how, arrival, reached: 0 }))
            });
            of_kind.take(kind.most)
        });
        self.points.set = points.collect();
        // Those that stay cost nothing.
        let gone = || old.iter().filter(|at| !self.points.set.contains_key(at));
        let new = || self.points.set.keys().filter(|at| !old.contains(at));
        for core in &mut self.cores {
            gone().for_each(|at| core.cpu.clear_breakpoint(GuestAddr(*at)));
            new().for_each(|at| core.cpu.set_breakpoint(GuestAddr(*at)));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use choice_tape::Deviation;
    use guest_memory::GuestAddr;

    use super::{How, KINDS};
    use crate::{
        Kernel,
        testing::{kernel_with, place_image},
    };

    const BASE: u64 = 0xffff_f802_0000_0000;

    /// A kernel with a driver, whose tape sets these points: offset, kind, arrival.
    fn kernel_at(points: impl IntoIterator<Item = (u32, u16, u32)>) -> Kernel {
        let deviation = |(ordinal, kind, answer)| Deviation { kind, ordinal, answer };
        let mut k = kernel_with(points.into_iter().map(deviation));
        place_image(&mut k, GuestAddr(BASE));
        k.set_points();
        k
    }

    fn set(k: &Kernel) -> Vec<(u64, How)> {
        k.points.set.iter().map(|(at, point)| (at - BASE, point.how)).collect()
    }

    #[test]
    fn every_kind_of_point_is_set_alone() {
        for kind in KINDS {
            let k = kernel_at([(0x1000, kind.choice.number, 1)]);
            assert_eq!(set(&k), [(0x1000, kind.how)], "{}", kind.choice.name);
        }
    }

    #[test]
    fn of_two_kinds_at_one_instruction_the_later_row_counts() {
        for (index, earlier) in KINDS.iter().enumerate() {
            for later in KINDS.iter().skip(index + 1) {
                let numbers = [later.choice.number, earlier.choice.number];
                let k = kernel_at(numbers.map(|number| (0x1000, number, 1)));
                assert_eq!(set(&k), [(0x1000, later.how)], "{}", later.choice.name);
            }
        }
    }

    #[test]
    fn a_tape_sets_as_many_points_of_a_kind_as_its_row_says() {
        let all = KINDS.iter().zip(1..).flat_map(|(kind, part)| {
            (0..600).map(move |index| (0x1000 * part + index, kind.choice.number, 1))
        });
        let k = kernel_at(all);
        let mut counts = BTreeMap::new();
        for (at, _) in set(&k) {
            *counts.entry(at / 0x1000).or_default() += 1;
        }
        let expected: BTreeMap<u64, usize> =
            (1..).zip(KINDS).map(|(part, kind)| (part, kind.most)).collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn points_of_the_run_before_are_gone() {
        let mut k = kernel_at([(0x1000, KINDS[0].choice.number, 1)]);
        k.tape = choice_tape::Tape::default();
        k.set_points();
        assert_eq!(set(&k), []);
    }
}
