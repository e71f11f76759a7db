//! The translator as an engine: finds or makes blocks, enters them, and serves their exits.

mod faults;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    panic::resume_unwind,
};

use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory};
use x86_interp::{Clock, Engine, Exit, Grant, Registers};

use crate::{
    allow::LONGEST_FRAME_BYTES,
    context::TARGETS,
    exits::{Done, Guess, Leave},
    faults::Faults,
    host::{
        CODE_BYTES, CodeMemory, STUB_BYTES, Token, Unavailable, has_segment_bases,
        has_wide_registers, set_gs, thread_pointer,
    },
    serve::{Outcome, Services, Serving},
    signals,
    stubs::{self, Stubs},
    translate::{Draft, Entries, Site, translate},
    verify::{Claims, Rejected, Rules, verify},
    windows::Windows,
};

/// Status flags in RFLAGS.
const STATUS: u64 = 0x8d5;
/// Bits of RFLAGS that may be set while code runs natively; with any other, the interpreter serves.
const PLAIN_FLAGS: u64 = STATUS | 0x202 | 0x3000;
/// The bits of MXCSR that say how to calculate, and what they are in Rust.
const MXCSR_CONTROL: u32 = 0xffc0;
const PLAIN_MXCSR: u32 = 0x1f80;
/// Events that the interpreter runs while a register holds undefined bits, before it is asked
/// again.
const SLICE_EVENTS: u64 = 64;

/// What happened, for tests and for measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks translated.
    pub blocks: u64,
    /// Times that translated code was entered.
    pub entries: u64,
    /// Instructions that the interpreter ran between them.
    pub steps: u64,
    /// Pages that entered the windows.
    pub pages: u64,
    /// Times that everything was thrown away.
    pub flushes: u64,
}

/// A block in the cache.
#[derive(Debug)]
struct Block {
    /// Where it begins, with its landing.
    landing: u64,
    /// Where it ends.
    end: u64,
    entries: Entries<u32>,
    faults: Faults,
}

/// Runs guest code by translating it. Falls back to the interpreter wherever translated code cannot
/// go on, with the same results.
#[derive(Debug)]
pub struct Translator {
    // Wiring. The order is the order in which they go: the code before the right to have it.
    code: CodeMemory,
    windows: Windows,
    interpreter: Engine,
    stubs: Stubs,
    thread_pointer: u64,
    // Configuration.
    trap: Range<u64>,
    stack: Range<u64>,
    breakpoints: BTreeSet<u64>,
    // State.
    used: usize,
    /// By host address, behind the landing.
    blocks: BTreeMap<u64, Block>,
    /// Host address of the block at a guest address.
    index: BTreeMap<u64, u64>,
    exits: Vec<Leave>,
    /// Exits of calls, by where in the cache they come back to if they are served in place.
    ways_back: BTreeMap<u64, usize>,
    /// Pages that translations rest on.
    pages: BTreeMap<u64, u64>,
    epoch: u64,
    trapped_from: Option<u64>,
    counts: Counts,
    rejected: Option<Rejected>,
    _token: Token,
}

/// Puts the stubs in front of the blocks.
fn write_stubs(code: &mut CodeMemory, thread_pointer: u64) -> Result<Stubs, Unavailable> {
    let (assembled, stubs) =
        stubs::assemble(code.places(), state_adjust(thread_pointer), code.start())
            .map_err(|_| Unavailable::Stubs)?;
    if assembled.bytes.len() > STUB_BYTES || !code.write(0, &assembled.bytes) {
        return Err(Unavailable::Stubs);
    }
    code.context().fault_return = stubs.fault;
    Ok(stubs)
}

/// What is added to displacements of states, since the thread pointer is no page address.
fn state_adjust(thread_pointer: u64) -> i64 {
    -i64::from(u16::try_from(thread_pointer & 0xfff).unwrap_or(0))
}

/// How serving an exit ended.
enum Served {
    /// Go on at `rip`.
    Go,
    /// Go on at this host address, with the registers as they are in the context.
    Resume(u64),
    /// The owner is needed.
    Exit(Exit),
}

/// Configuration.
impl Translator {
    /// `trap`: executing inside it is an exit. It need not be mapped. Code is translated on the
    /// thread that makes the translator; on others the interpreter serves.
    pub fn new(trap: Range<u64>) -> Result<Self, Unavailable> {
        Self::with_registers(trap, has_wide_registers())
    }

    /// The same; `is_wide`: whether the code may use the registers of AVX-512.
    fn with_registers(trap: Range<u64>, is_wide: bool) -> Result<Self, Unavailable> {
        let token = Token::take()?;
        if !has_segment_bases() {
            return Err(Unavailable::SegmentBases);
        }
        let thread_pointer = thread_pointer();
        let windows = Windows::new(thread_pointer)?;
        let mut code = CodeMemory::new(is_wide)?;
        let stubs = write_stubs(&mut code, thread_pointer)?;
        code.announce()?;
        let mut translator = Self {
            code,
            windows,
            interpreter: Engine::new(trap.clone()),
            stubs,
            thread_pointer,
            trap,
            stack: 0..0,
            breakpoints: BTreeSet::new(),
            used: STUB_BYTES,
            blocks: BTreeMap::new(),
            index: BTreeMap::new(),
            exits: Vec::new(),
            ways_back: BTreeMap::new(),
            pages: BTreeMap::new(),
            epoch: 0,
            trapped_from: None,
            counts: Counts::default(),
            rejected: None,
            _token: token,
        };
        translator.set_stack_range(0..0);
        translator.code.targets().landing.fill(stubs.miss);
        translator.flush();
        Ok(translator)
    }

    /// Whether code may use the registers of AVX-512, where the host has them. Without them it is
    /// the code of a host that has none, which tests run too. All translations are thrown away.
    pub fn allow_wide_registers(&mut self, is_allowed: bool) -> Result<(), Unavailable> {
        self.code.set_wide(is_allowed && has_wide_registers());
        self.stubs = write_stubs(&mut self.code, self.thread_pointer)?;
        self.code.targets().landing.fill(self.stubs.miss);
        self.flush();
        Ok(())
    }

    /// Lowering rsp inside this range makes the bytes of the new frame undefined.
    pub fn set_stack_range(&mut self, stack: Range<u64>) {
        self.interpreter.set_stack_range(stack.clone());
        let can_enter = stack.start >= guest_memory::KERNEL_HALF_START.0
            && self.windows.can_enter(stack.start)
            && self.windows.can_enter(stack.end);
        let context = self.code.context();
        let (low, end) = if can_enter && !stack.is_empty() {
            (stack.start.saturating_add(u64::from(LONGEST_FRAME_BYTES)), stack.end)
        } else {
            // No rsp lies between these, so that every frame is left to the interpreter.
            (u64::MAX, 0)
        };
        (context.stack_low, context.stack_end) = (low, end);
        if self.stack != stack {
            self.windows.set_stack(&stack);
            self.stack = stack;
        }
    }

    /// Execution of this address by `run` becomes an exit.
    pub fn set_breakpoint(&mut self, at: u64) {
        if self.breakpoints.insert(at) {
            self.interpreter.set_breakpoint(at);
            self.flush();
        }
    }

    /// Takes a breakpoint back.
    pub fn clear_breakpoint(&mut self, at: u64) {
        if self.breakpoints.remove(&at) {
            self.interpreter.clear_breakpoint(at);
            self.flush();
        }
    }

    /// Exchanges the interpreter, which keeps what a virtual processor has reached. Several
    /// processors use the translator in turn, each with an interpreter of its own.
    pub fn exchange_interpreter(&mut self, other: &mut Engine) {
        std::mem::swap(&mut self.interpreter, other);
    }

    /// First address of every block executed so far, in ascending order.
    pub fn blocks_reached(&self) -> impl Iterator<Item = u64> {
        self.interpreter.blocks_reached()
    }

    /// The instruction that led into the trap range; `None` if the last run or step met no trap, or
    /// began there.
    pub fn trapped_from(&self) -> Option<u64> {
        self.trapped_from
    }

    /// What is added to a guest address to reach its byte, and to reach its state.
    pub fn bases(&self) -> (u64, u64) {
        (self.windows.data_base(), self.windows.state_base())
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The last block that the verifier rejected: a mistake of the translator.
    pub fn rejected(&self) -> Option<&Rejected> {
        self.rejected.as_ref()
    }
}

/// Running.
impl Translator {
    /// Runs until something needs the owner.
    pub fn run(&mut self, r: &mut Registers, m: &mut GuestMemory, clock: &mut Clock) -> Exit {
        self.run_served(r, m, clock, &mut Serving::none())
    }

    /// The same, but calls into the trap range that translated code makes are served in place where
    /// that is possible.
    pub fn run_with(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        services: &mut impl Services,
    ) -> Exit {
        self.run_served(r, m, clock, &mut Serving::new(services))
    }

    fn run_served(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        serving: &mut Serving<'_>,
    ) -> Exit {
        self.trapped_from = None;
        if m.frames_file().is_none() || m.is_tracking() || thread_pointer() != self.thread_pointer {
            return self.interpret(r, m, clock);
        }
        signals::prepare_thread();
        set_gs(self.windows.data_base());
        if self.windows.meet(m) {
            self.flush();
        }
        self.check_code(m);
        loop {
            if clock.events >= clock.limit_events {
                return Exit::ClockLimit;
            }
            if self.trap.contains(&r.rip) {
                return Exit::Trap(GuestAddr(r.rip));
            }
            self.trapped_from = None;
            if self.breakpoints.contains(&r.rip) {
                return Exit::Breakpoint;
            }
            if let Some(exit) = self.once(r, m, clock, serving) {
                return exit;
            }
            if m.is_tracking() {
                return self.interpret(r, m, clock);
            }
        }
    }

    /// Runs one instruction in the interpreter; a `rep` instruction counts as one.
    pub fn step(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit {
        let exit = self.interpreter.step(r, m, clock, grant);
        self.trapped_from = self.interpreter.trapped_from();
        exit
    }

    fn interpret(&mut self, r: &mut Registers, m: &mut GuestMemory, clock: &mut Clock) -> Exit {
        let exit = self.interpreter.run(r, m, clock);
        self.trapped_from = self.interpreter.trapped_from();
        exit
    }

    /// Runs some code; `None` if nobody is needed.
    fn once(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        serving: &mut Serving<'_>,
    ) -> Option<Exit> {
        let is_plain = !r.is_user && r.rflags & !PLAIN_FLAGS == 0;
        if !is_plain || !GuestAddr(r.rip).is_kernel_half() {
            return self.step_inside(r, m, clock);
        }
        if r.undefined.is_some() {
            let limit_events = clock.limit_events.min(clock.events + SLICE_EVENTS);
            let mut slice = Clock { events: clock.events, limit_events };
            let exit = self.interpret(r, m, &mut slice);
            clock.events = slice.events;
            self.check_code(m);
            return (exit != Exit::ClockLimit).then_some(exit);
        }
        match self.block_at(m, r.rip) {
            Some(host) => {
                if self.interpreter.pass(r.rip) {
                    self.reach(r.rip, host);
                }
                self.enter(host, r, m, clock, serving)
            }
            None => self.step_inside(r, m, clock),
        }
    }

    /// Lets the interpreter run one instruction; `None` if it completed.
    fn step_inside(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
    ) -> Option<Exit> {
        self.counts.steps += 1;
        let exit = self.step(r, m, clock, Grant::None);
        self.check_code(m);
        (exit != Exit::Stepped).then_some(exit)
    }

    /// Enters translated code and serves its exits, until the registers are needed.
    fn enter(
        &mut self,
        host: u64,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        serving: &mut Serving<'_>,
    ) -> Option<Exit> {
        self.put_registers(r, clock);
        serving.limit_events = clock.limit_events;
        // Rust calculates as its own control bits say.
        let is_plain = r.mxcsr & MXCSR_CONTROL == PLAIN_MXCSR;
        let mut host = host;
        loop {
            self.windows.sync(m);
            self.counts.entries += 1;
            serving.epoch = self.epoch;
            let context = self.code.context();
            (context.entry, context.fault) = (host, 0);
            context.outcome = u64::from(Outcome::DONE);
            self.code.run(self.stubs.enter, is_plain, serving, m);
            m.exert(std::mem::take(&mut self.code.context().moved_bytes));
            if let Some(panic) = serving.panic.take() {
                resume_unwind(panic);
            }
            let context = self.code.context();
            if context.outcome == u64::from(Outcome::RETURN) {
                context.gpr[0] = context.result;
                context.gpr[4] = context.gpr[4].wrapping_add(8);
                r.rip = context.return_to;
                self.interpreter.arrive(r.rip, true);
                self.get_registers(r, clock);
                self.check_code(m);
                return None;
            }
            if context.outcome == u64::from(Outcome::NEXT) {
                r.rip = context.return_to;
                self.interpreter.arrive(r.rip, false);
                self.get_registers(r, clock);
                self.check_code(m);
                self.go_on_behind_string(m, r.rip);
                return None;
            }
            let served = if context.fault == 0 { self.serve(r, m) } else { self.serve_fault(r, m) };
            match served {
                Served::Resume(at) => host = at,
                Served::Exit(exit) => {
                    self.get_registers(r, clock);
                    return Some(exit);
                }
                Served::Go => {
                    self.get_registers(r, clock);
                    return self.step_inside(r, m, clock);
                }
            }
        }
    }

    /// Serves an exit; `rip` is set. `Go` means that the interpreter runs the instruction there.
    fn serve(&mut self, r: &mut Registers, m: &mut GuestMemory) -> Served {
        let context = self.code.context();
        let (exit, back, target) = (context.exit, context.back, context.target);
        let index = match i32::try_from(exit) {
            Ok(stubs::EXIT_NEXT) => return self.serve_next(m, r, target),
            Ok(stubs::EXIT_OF_CALL) => self.ways_back.get(&back).copied(),
            _ => usize::try_from(exit).ok(),
        };
        let leave = index.and_then(|index| self.exits.get(index)).copied();
        match leave.expect("code leaves by the exits that were made for it") {
            Leave::Step { rip } => {
                r.rip = rip;
                self.interpreter.arrive(rip, false);
                Served::Go
            }
            Leave::Limit { target } => {
                r.rip = target;
                self.interpreter.arrive(target, true);
                Served::Exit(Exit::ClockLimit)
            }
            Leave::Link { target, site, is_branch } => {
                r.rip = target;
                self.interpreter.arrive(target, is_branch);
                self.go_to(m, target, |this, host| this.patch(site, host))
            }
            Leave::Indirect { rip, done, guess } => self.serve_indirect(m, r, rip, done, guess),
        }
    }

    /// Goes on at `target` behind a string instruction.
    fn serve_next(&mut self, m: &mut GuestMemory, r: &mut Registers, target: u64) -> Served {
        r.rip = target;
        self.interpreter.arrive(target, false);
        // The block behind a string instruction is found in the table, too.
        self.go_to(m, target, |this, host| this.enter_target(target, host))
    }

    /// Goes on at a block, made if necessary.
    fn go_to(
        &mut self,
        m: &mut GuestMemory,
        target: u64,
        then: impl FnOnce(&mut Self, u64),
    ) -> Served {
        if self.trap.contains(&target) {
            return Served::Exit(Exit::Trap(GuestAddr(target)));
        }
        if self.breakpoints.contains(&target) {
            return Served::Exit(Exit::Breakpoint);
        }
        let flushes = self.counts.flushes;
        match self.block_at(m, target) {
            Some(host) => {
                if self.interpreter.pass(target) {
                    self.reach(target, host);
                }
                // A flush takes the place to patch with it.
                if flushes == self.counts.flushes {
                    then(self, host);
                }
                Served::Resume(host)
            }
            None => Served::Go,
        }
    }

    /// An indirect branch at `rip` whose target is not in the table, or is in the trap range.
    fn serve_indirect(
        &mut self,
        m: &mut GuestMemory,
        r: &mut Registers,
        rip: u64,
        done: Done,
        guess: Guess,
    ) -> Served {
        let flushes = self.counts.flushes;
        let target = self.code.context().target;
        let is_trap = self.trap.contains(&target);
        let is_possible = GuestAddr(target).is_kernel_half() && GuestAddr(target).is_canonical();
        let host = if is_trap || self.is_stop(target) || !is_possible {
            None
        } else {
            self.block_at(m, target)
        };
        let context = self.code.context();
        if host.is_none() && !is_trap {
            // The branch runs again, in the interpreter: it finds its own faults.
            r.rip = rip;
            self.interpreter.arrive(rip, false);
            let rsp = &mut context.gpr[4];
            match done {
                Done::Jump => {}
                Done::Return(raised) => *rsp = rsp.wrapping_sub(raised.cast_unsigned()),
                Done::Call { over_undefined } => {
                    let (at, before) = (GuestAddr(*rsp), context.overwritten.to_le_bytes());
                    *rsp = rsp.wrapping_add(8);
                    let written = m.write(Accessor::Machine, at, &before);
                    assert!(written.is_ok(), "code wrote there just now");
                    if over_undefined {
                        m.set_state(at, 8, ByteState::UNDEFINED, None);
                    }
                }
            }
            return Served::Go;
        }
        // The branch is done; only its event may be left to count.
        let is_event = target <= rip;
        context.left -= u64::from(is_event);
        r.rip = target;
        self.interpreter.arrive(target, true);
        if context.left == 0 {
            return Served::Exit(Exit::ClockLimit);
        }
        match host {
            Some(host) => {
                // The table has one place for several targets: the newest has it.
                if self.interpreter.pass(target) {
                    self.reach(target, host);
                }
                // A flush takes the guess with it.
                if let Some(jump) = guess.jump
                    && flushes == self.counts.flushes
                {
                    let Block { landing, entries, .. } = self.block(host);
                    let entry = if is_event { entries.counted } else { entries.uncounted };
                    let entry = landing + u64::from(entry);
                    self.write_distance(jump, entry);
                    self.write_guess(guess, target);
                }
                Served::Resume(host)
            }
            None => {
                // The next call from here is served in place, if it goes to the same address.
                if matches!(done, Done::Call { .. }) && !is_event {
                    self.write_guess(guess, target);
                }
                self.trapped_from = Some(rip);
                Served::Exit(Exit::Trap(GuestAddr(target)))
            }
        }
    }

    fn is_stop(&self, at: u64) -> bool {
        self.trap.contains(&at) || self.breakpoints.contains(&at)
    }
}

/// Registers in the context.
impl Translator {
    fn put_registers(&mut self, r: &Registers, clock: &Clock) {
        let context = self.code.context();
        context.gpr = r.gpr;
        context.xmm = r.xmm;
        context.mxcsr = r.mxcsr;
        context.flags = (r.rflags & 0xd5 | 2) << 8 | r.rflags >> 11 & 1;
        context.left = clock.limit_events - clock.events;
        context.over = 0;
    }

    fn get_registers(&mut self, r: &mut Registers, clock: &mut Clock) {
        let context = self.code.context();
        r.gpr = context.gpr;
        r.xmm = context.xmm;
        r.mxcsr = context.mxcsr;
        let status = context.flags >> 8 & 0xd5 | (context.flags & 1) << 11;
        r.rflags = r.rflags & !STATUS | status;
        clock.events = clock.limit_events - context.left + context.over;
    }
}

/// The cache.
impl Translator {
    /// The host address of the block at a guest address, translated if necessary; `None` if the
    /// interpreter has to run what is there.
    fn block_at(&mut self, m: &mut GuestMemory, rip: u64) -> Option<u64> {
        let slot = usize::try_from(rip).unwrap_or(0) % TARGETS;
        let targets = self.code.targets();
        // 0 stands for none, and code may jump there from the end of the address space.
        if rip != 0 && targets.guest.get(slot) == Some(&rip) {
            return targets.block.get(slot).copied();
        }
        if let Some(host) = self.index.get(&rip) {
            return Some(*host);
        }
        if self.used + CODE_BYTES / 64 > CODE_BYTES {
            self.flush();
        }
        let site = Site {
            at: self.code.start() + self.used as u64,
            places: self.code.places(),
            stubs: self.stubs,
            state_adjust: state_adjust(self.thread_pointer),
            first_exit: u32::try_from(self.exits.len()).ok()?,
            cache: self.code.start(),
            served: Some(self.trap.start).filter(|_| !self.trap.is_empty()),
        };
        let (trap, breakpoints) = (self.trap.clone(), &self.breakpoints);
        let stops = |at: u64| trap.contains(&at) || breakpoints.contains(&at);
        let draft = translate(m, rip, stops, &site)?;
        // Fetching may have made a page code: what was written into the windows is not any more.
        self.windows.sync(m);
        self.epoch = m.code_epoch();
        if let Err(rejected) = self.verify(&draft, site.at) {
            self.rejected = Some(rejected);
            return None;
        }
        self.publish(rip, &site, draft)
    }

    fn verify(&self, draft: &Draft, at: u64) -> Result<(), Rejected> {
        let rules = Rules {
            places: self.code.places(),
            stubs: self.stubs,
            state_adjust: state_adjust(self.thread_pointer),
            cache: self.code.start(),
            is_block: &|host| self.blocks.contains_key(&host),
        };
        let links = draft.exits.iter().filter_map(|leave| match leave {
            Leave::Link { site, .. } => Some(*site),
            Leave::Indirect { guess, .. } => guess.jump,
            _ => None,
        });
        let guesses = draft.exits.iter().filter_map(|leave| match leave {
            Leave::Indirect { guess, .. } if guess.constant != 0 => Some(guess.constant),
            _ => None,
        });
        let Entries { body, counted, uncounted } = draft.entries;
        let claims = Claims {
            entries: &[body, counted, uncounted],
            links: &links.collect::<Vec<u64>>(),
            guesses: &guesses.collect::<Vec<u64>>(),
            faults: &draft.faults,
        };
        verify(&draft.bytes, at, &claims, &rules)
    }

    fn publish(&mut self, rip: u64, site: &Site, draft: Draft) -> Option<u64> {
        if !self.code.write(self.used, &draft.bytes) {
            return None;
        }
        self.used = (self.used + draft.bytes.len()).next_multiple_of(16);
        self.counts.blocks += 1;
        let Draft { bytes, entries, way_back, exits, faults, pages } = draft;
        let host = site.at + u64::from(entries.body);
        let end = site.at + bytes.len() as u64;
        if let Some((offset, exit)) = way_back {
            let back = site.at - site.cache + u64::from(offset);
            self.ways_back.insert(back, self.exits.len() + exit);
        }
        self.exits.extend(exits);
        self.pages.extend(pages);
        self.blocks.insert(host, Block { landing: site.at, end, entries, faults });
        self.index.insert(rip, host);
        Some(host)
    }

    /// A branch leads to this block: notes it, and makes it known to indirect branches. They know
    /// no other blocks but those behind string instructions, where no function begins.
    fn reach(&mut self, rip: u64, host: u64) {
        self.enter_target(rip, host);
        self.interpreter.note_reached(rip);
    }

    /// The block behind a string instruction is found in the table, too.
    fn go_on_behind_string(&mut self, m: &mut GuestMemory, rip: u64) {
        if !self.is_stop(rip)
            && let Some(host) = self.block_at(m, rip)
        {
            self.enter_target(rip, host);
        }
    }

    /// Makes a block known to the stubs.
    fn enter_target(&mut self, rip: u64, host: u64) {
        let landing = self.block(host).landing;
        self.set_target(rip, (rip, landing, host));
    }

    fn block(&self, host: u64) -> &Block {
        self.blocks.get(&host).expect("the block is there")
    }

    fn set_target(&mut self, rip: u64, entry: (u64, u64, u64)) {
        let slot = usize::try_from(rip).unwrap_or(0) % TARGETS;
        let targets = self.code.targets();
        let columns = [&mut targets.guest, &mut targets.landing, &mut targets.block];
        for (column, value) in columns.into_iter().zip([entry.0, entry.1, entry.2]) {
            if let Some(place) = column.get_mut(slot) {
                *place = value;
            }
        }
    }

    /// Lets a jump lead to a block.
    fn patch(&mut self, site: u64, host: u64) {
        assert!(self.blocks.contains_key(&host), "jumps lead to the start of blocks");
        self.write_distance(site, host);
    }

    /// `site` is where the distance of a jump is that is to lead to a start or an entry of a block.
    fn write_distance(&mut self, site: u64, to: u64) {
        let behind = site + 4;
        let Ok(distance) = i32::try_from(to.wrapping_sub(behind).cast_signed()) else { return };
        self.write_at(site, &distance.to_le_bytes());
    }

    /// An indirect branch guesses from now on that it leads to `target`.
    fn write_guess(&mut self, guess: Guess, target: u64) {
        if guess.constant != 0 {
            self.write_at(guess.constant, &target.wrapping_neg().to_le_bytes());
        }
    }

    fn write_at(&mut self, host: u64, bytes: &[u8]) {
        let offset = usize::try_from(host - self.code.start()).unwrap_or(usize::MAX);
        assert!(self.code.write(offset, bytes), "it lies in the cache");
    }

    /// Throws the translations away if code has changed.
    fn check_code(&mut self, m: &GuestMemory) {
        if self.epoch == m.code_epoch() {
            return;
        }
        self.epoch = m.code_epoch();
        let is_same = |(page, version): (&u64, &u64)| m.code_version(GuestAddr(*page)) == *version;
        if !self.pages.iter().all(is_same) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.counts.flushes += 1;
        self.used = STUB_BYTES;
        self.blocks.clear();
        // Clearing what was entered is less than clearing the table.
        let known = std::mem::take(&mut self.index).into_keys();
        for rip in known {
            self.set_target(rip, (0, self.stubs.miss, 0));
        }
        self.pages.clear();
        self.ways_back.clear();
        self.exits.clear();
        // The first belong to the stubs.
        self.exits.resize(stubs::FIRST_EXIT, Leave::Step { rip: 0 });
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "edge_tests.rs"]
mod edge_tests;

#[cfg(test)]
#[path = "remap_tests.rs"]
mod remap_tests;

#[cfg(test)]
#[path = "fewer_checks_tests.rs"]
mod fewer_checks_tests;

#[cfg(test)]
#[path = "serve_tests.rs"]
mod serve_tests;

#[cfg(test)]
#[path = "string_tests.rs"]
mod string_tests;
