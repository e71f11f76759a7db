//! Points in the driver's code at which the tape lets another processor go on.

use std::collections::BTreeMap;

use cpu::Grant;
use events::{Event, SWITCH_POINT, SwitchPoint};
use guest_memory::{Accessor, GuestAddr};
use happens_before::Lane;

use crate::{CallResult, Kernel};

/// Events of a point in a loop that are reported.
const MOST_REPORTED: u32 = 64;

/// Points of a tape: one from a stranger must not cost much.
const MOST_POINTS: usize = 64;

/// Points of a run, and who stands at one.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// By instruction: at which arrival another goes on, and how often it was reached.
    set: BTreeMap<u64, (u32, u32)>,
    /// Who was interrupted at a point, and what the instruction had read there already.
    held: BTreeMap<Lane, Held>,
}

#[derive(Clone, Debug)]
struct Held {
    ip: u64,
    read: Option<(GuestAddr, Vec<u8>)>,
}

impl Kernel {
    /// Sets the points that the tape names, and no others.
    pub(crate) fn set_points(&mut self) {
        let old: Vec<u64> = self.points.set.keys().copied().collect();
        let base = self.images.first().map(|image| image.base);
        let points = self.tape.points(SWITCH_POINT);
        let address = |rva: u32| base.map(|base| base.add(u64::from(rva)).0);
        let set = points.filter_map(|(rva, arrival)| Some((address(rva)?, (arrival, 0))));
        self.points = Points { set: set.take(MOST_POINTS).collect(), held: BTreeMap::new() };
        for core in &mut self.cores {
            for &at in &old {
                core.cpu.clear_breakpoint(GuestAddr(at));
            }
            for &at in self.points.set.keys() {
                core.cpu.set_breakpoint(GuestAddr(at));
            }
        }
    }

    /// Whether the next instruction is a point.
    pub(crate) fn is_at_point(&self) -> bool {
        !self.points.set.is_empty() && self.points.set.contains_key(&self.core().regs.rip)
    }

    /// A point is reached: another processor goes on, or the instruction runs.
    pub(crate) fn at_point(&mut self) -> CallResult<()> {
        let (ip, lane) = (self.core().regs.rip, self.lane());
        let Some(point) = self.points.set.get_mut(&ip) else { return self.step(Grant::None) };
        if self.points.held.get(&lane).is_some_and(|held| held.ip == ip) {
            let held = self.points.held.remove(&lane);
            if let Some((at, bytes)) = held.and_then(|held| held.read) {
                // The instruction computes with what it has read. If the memory is gone by now,
                // it faults on its own.
                let _ = self.memory.write(Accessor::Machine, at, &bytes);
            }
            return self.step(Grant::None);
        }
        point.1 = point.1.saturating_add(1);
        let (arrival, reached) = *point;
        let is_switch = arrival == reached;
        if is_switch || reached <= MOST_REPORTED {
            let who = Self::who(lane);
            let holds = self.ke.spin_locks_of(self.core().index);
            self.emit(Event::SwitchPoint(SwitchPoint { who, reached, is_switch, holds }))?;
        }
        if !is_switch {
            return self.step(Grant::None);
        }
        let read = self.half_done();
        self.points.held.insert(lane, Held { ip, read });
        self.let_others_go_on();
        Ok(())
    }

    /// What an instruction that changes memory without a lock has read when it is split.
    fn half_done(&mut self) -> Option<(GuestAddr, Vec<u8>)> {
        #[expect(clippy::indexing_slicing, reason = "`current` always names a processor")]
        let core = &self.cores[self.current];
        let operand = core.cpu.plain_update(&core.regs, &mut self.memory)?;
        let mut bytes = vec![0; usize::from(operand.size_bytes)];
        self.memory.read(Accessor::Machine, operand.at, &mut bytes).ok()?;
        Some((operand.at, bytes))
    }

    /// Ends the turn. If nobody else can run now, the time until the next timer passes: a thread
    /// or a processor may stand still for as long as it takes.
    fn let_others_go_on(&mut self) {
        if !self.is_contended()
            && let Some(due) = self.next_due_100ns()
        {
            let now = self.interrupt_time_100ns();
            self.idle_100ns += due.saturating_sub(now);
        }
        self.cut_turn();
    }
}
