//! The machine.

use std::sync::Arc;

use choice_tape::Tape;
use cpu::{Tier, Unavailable};
use events::{BugCheckRaised, Event, Observer, Origin, Seq, ThreadId};
use guest_memory::{Accessor, GuestAddr, Limits, Logged, Tracking};
use nt_abi::NtStatus;
use ntoskrnl::ob::Handle;
use ntoskrnl::{
    BugCheck, Config, Kernel, KernelSnapshot, Module, Rest, Stop, io, ke, map, mm, ob, ps,
};
use pe_image::Image;
use saved::{Keep, Saved, SavedMap, kept};

use crate::{Command, DeviceInfo, FileRef, InterruptLine, Reply, Stopped, image};

/// What a machine is made from.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// The driver's image.
    pub image: Arc<Image>,
    /// Its file name, such as `zero.sys`.
    pub image_name: String,
    /// Byte that undefined memory holds.
    pub fill: u8,
    /// Bound on the event clock of one run.
    pub limit_events: u64,
    /// Event ordinals whose stacks are recorded; empty: none.
    pub record: Vec<Seq>,
    /// Record a [`TraceLine`] per notable step (`bugcheck run --events`).
    pub trace: bool,
    /// How many processors it has, at least 1.
    pub processors: u8,
    /// Interrupts of the driver's device.
    pub lines: Vec<InterruptLine>,
    /// The engine. What a machine does, does not depend on it.
    pub tier: Tier,
}

/// Bounds of one machine's memory: 256 MiB of frames.
const LIMITS: Limits = Limits { frames: 65_536, blocks: 200_000, spaces: 16 };

/// Longest virtual time a call waits for something to happen: 30 s.
pub(crate) const PATIENCE_100NS: u64 = 300_000_000;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    pub(crate) kernel: Kernel,
    pub(crate) image: Arc<Image>,
    image_base: GuestAddr,
    unmodelled: Vec<String>,
    pub(crate) state: State,
}

kept! {
    /// What the outside world knows of a machine.
    #[derive(Debug)]
    pub(crate) struct State as StateCopy {
        /// The thread that loads and unloads drivers.
        pub(crate) system_thread: Saved<ThreadId>,
        /// Threads of the calling process. While one is blocked in a call, the next command comes
        /// from another.
        pub(crate) callers: Saved<Vec<ThreadId>>,
        /// Threads of another process that shares handles with the calling one; none until the
        /// tape asks for it.
        pub(crate) elsewhere: Saved<Vec<ThreadId>>,
        /// Why the machine is over.
        pub(crate) ended: Saved<Option<Stopped>>,
        /// Handles of open files.
        pub(crate) files: SavedMap<FileRef, Handle>,
        /// The image is in use by a driver.
        pub(crate) is_loaded: bool,
    }
}

/// A captured machine.
#[derive(Debug)]
pub struct MachineSnapshot {
    kernel: KernelSnapshot,
    state: StateCopy,
}

/// One frame of a recorded stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// Offset in the driver's image, or `None` in the kernel.
    pub rva: Option<u32>,
    /// True if `rva` is a return address.
    pub is_return: bool,
    /// For a kernel frame, its routine.
    pub export: Option<String>,
}

/// A line of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// The event clock.
    pub clock_events: u64,
    /// What happened.
    pub text: String,
}

/// What was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Offsets in the image of the blocks executed.
    pub blocks: Vec<u32>,
    /// Entry points the driver registered, with their offset, and whether each was called.
    pub entries: Vec<(String, u32, bool)>,
}

impl Machine {
    /// Maps the image and binds its imports. `Err`: why it cannot be loaded.
    pub fn new(
        config: MachineConfig,
        tape: Tape,
        observer: Box<dyn Observer>,
    ) -> Result<Self, Stopped> {
        let MachineConfig { image, image_name, lines, .. } = config;
        let MachineConfig { fill, limit_events, record, trace, processors, tier, .. } = config;
        let config = Config { fill, limit_events, record, trace, processors, tier };
        let mut k = Kernel::new(config, &modules(), observer, tape, LIMITS);
        let state = start(&mut k).map_err(stopped)?;
        lines.into_iter().for_each(|line| k.declare_line(line));
        let unmodelled = image::unmodelled(&k, &image);
        let image_base = image::load(&mut k, &image_name, Arc::clone(&image))?;
        Ok(Self { kernel: k, image, image_base, unmodelled, state })
    }

    /// Carries out one command. After `Err` the machine is over.
    pub fn execute(&mut self, command: &Command) -> Result<Reply, Stopped> {
        if let Some(stopped) = &*self.state.ended {
            return Err(stopped.clone());
        }
        self.kernel.trace(|_| format!("command: {command:?}"));
        // What the outside world does now is about no routine of the driver that returned before.
        self.kernel.core_mut().returned = GuestAddr::NULL;
        let reply = crate::service::execute(self, command);
        let reply = reply.map_err(|stop| self.stopped(stop));
        if let Err(stopped) = &reply {
            *self.state.ended = Some(stopped.clone());
        }
        reply
    }

    /// End of the run: judges what is left over (requests still outstanding, resources after
    /// unload).
    pub fn finish(&mut self) -> Result<(), Stopped> {
        if let Some(stopped) = &*self.state.ended {
            return Err(stopped.clone());
        }
        crate::service::finish(self).map_err(|stop| self.stopped(stop))
    }

    /// Copies the machine's state.
    pub fn capture(&mut self) -> MachineSnapshot {
        MachineSnapshot { kernel: self.kernel.capture(), state: self.state.capture() }
    }

    /// Goes back to a state and takes another tape from there.
    pub fn restore(&mut self, snapshot: &MachineSnapshot, tape: Tape) {
        self.kernel.restore(&snapshot.kernel, tape);
        self.state.restore(&snapshot.state);
    }

    /// The observer, to read its findings.
    pub fn observer(&mut self) -> &mut dyn Observer {
        self.kernel.observer.as_mut()
    }

    /// The tape, to see what was asked.
    pub fn tape(&self) -> &Tape {
        &self.kernel.tape
    }

    /// Devices that exist now.
    pub fn devices(&mut self) -> Vec<DeviceInfo> {
        // Device objects are the kernel's own blocks; one that cannot be read is none.
        crate::service::devices(&mut self.kernel).unwrap_or_default()
    }

    /// Lines the driver printed.
    pub fn debug_output(&self) -> &[String] {
        &self.kernel.debug_output
    }

    /// The trace so far.
    pub fn trace(&self) -> Vec<TraceLine> {
        let line = |entry: &ntoskrnl::TraceEntry| TraceLine {
            clock_events: entry.clock_events,
            text: entry.text.clone(),
        };
        self.kernel.trace.iter().map(line).collect()
    }

    /// Stacks recorded for the ordinals asked for, with their origin.
    pub fn recorded(&self) -> Vec<(Origin, Vec<StackFrame>)> {
        let frame = |&(at, is_return): &(GuestAddr, bool)| StackFrame {
            rva: self.rva(at),
            is_return,
            export: match self.kernel.exports.target(at) {
                Some(ntoskrnl::TrapTarget::Export(export)) => {
                    Some(export.written_as.unwrap_or(export.name).to_owned())
                }
                _ => None,
            },
        };
        let stack = |frames: &Vec<(GuestAddr, bool)>| frames.iter().map(frame).collect();
        self.kernel.recorded.iter().map(|(origin, frames)| (*origin, stack(frames))).collect()
    }

    /// Offset in the driver's image of a guest address.
    pub fn rva(&self, at: GuestAddr) -> Option<u32> {
        let offset = at.0.checked_sub(self.image_base.0)?;
        u32::try_from(offset).ok().filter(|&rva| rva < self.image.image_bytes())
    }

    /// What was reached so far, over all runs of this machine.
    pub fn coverage(&self) -> Coverage {
        let mut blocks: Vec<u32> = Vec::new();
        for core in &self.kernel.cores {
            blocks.extend(core.cpu.blocks_reached().into_iter().filter_map(|at| self.rva(at)));
        }
        // Each processor's are in order: runs that this kind of sorting merges.
        blocks.sort();
        blocks.dedup();
        let entries = crate::service::entry_points(&self.kernel);
        let entry = |(name, at): (String, GuestAddr)| {
            let rva = self.rva(at)?;
            let is_reached = blocks.binary_search(&rva).is_ok();
            Some((name, rva, is_reached))
        };
        Coverage { entries: entries.into_iter().filter_map(entry).collect(), blocks }
    }

    /// Instructions run in turns whose length the tape gave.
    pub fn counted_instructions(&self) -> u64 {
        self.kernel.turn.counted_instructions
    }

    /// Begins to track who touches which memory; pages known to be shared, and bytes whose every
    /// access is logged.
    pub fn track(&mut self, pages: Vec<GuestAddr>, logged: Option<(GuestAddr, u32)>) {
        let (stacks, size_bytes) = map::STACKS;
        let (control, control_bytes) = (map::PROCESSOR_CONTROL.0, 0x1000_0000);
        let private = vec![stacks.0..stacks.0 + size_bytes, control..control + control_bytes];
        self.kernel.memory.track(Tracking { pages, private, logged });
    }

    /// Pages that several threads or processors touched, while that was tracked.
    pub fn shared_pages(&self) -> Vec<GuestAddr> {
        self.kernel.memory.shared_pages()
    }

    /// Instructions that touch what several threads or processors touch and one of them writes,
    /// while that was tracked.
    pub fn sharing_instructions(&self) -> Vec<GuestAddr> {
        self.kernel.memory.sharing_instructions()
    }

    /// Accesses to the logged bytes, in order.
    pub fn access_log(&self) -> Vec<Logged> {
        self.kernel.memory.access_log().to_vec()
    }

    /// Up to 8 bytes of memory as a number; `None` if they are not mapped.
    pub fn peek(&self, at: GuestAddr, size_bytes: u32) -> Option<u64> {
        let mut bytes = [0; 8];
        let length = usize::try_from(size_bytes).ok()?.min(8);
        let into = bytes.get_mut(..length)?;
        self.kernel.memory.read(Accessor::Machine, at, into).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Where the image is mapped.
    pub fn image_base(&self) -> GuestAddr {
        self.image_base
    }

    /// Imports nobody exports: named traps.
    pub fn unmodelled_imports(&self) -> &[String] {
        &self.unmodelled
    }

    /// A digest of the kernel routines that the driver called so far, in order.
    pub fn call_digest(&self) -> u64 {
        self.kernel.call_digest
    }

    /// The kernel routine that returned the last failure that the driver got, if it was this one,
    /// and the offset in the image behind the call.
    pub fn failed_call(&self, status: NtStatus) -> Option<(&'static str, u32)> {
        let failed = self.kernel.failed_call.filter(|failed| failed.status == status)?;
        Some((failed.name, self.rva(failed.from)?))
    }

    /// How many processors it has.
    pub fn processors(&self) -> u8 {
        u8::try_from(self.kernel.cores.len()).unwrap_or(u8::MAX)
    }

    /// The event clock.
    pub fn clock_events(&self) -> u64 {
        self.kernel.clock.events
    }

    /// Work that counted no events, in units of `GuestMemory::exert`.
    pub fn effort(&self) -> u64 {
        self.kernel.memory.effort()
    }

    /// Why the machine is over. A bug check is a fact that rules hear of.
    fn stopped(&mut self, stop: Stop) -> Stopped {
        if let Stop::BugCheck(BugCheck { code, parameters }) = stop {
            let event = Event::BugCheckRaised(BugCheckRaised { code, parameters });
            // The run ends here whatever the observer says.
            let _ = self.kernel.emit(event);
        }
        stopped(stop)
    }

    /// Runs until a thread's service is finished or nothing can go on.
    pub(crate) fn run(&mut self, thread: ThreadId) -> Result<Rest, Stop> {
        let until = self.kernel.interrupt_time_100ns() + PATIENCE_100NS;
        self.kernel.run(thread, until)
    }
}

/// Makes the translator for machines that run on this thread. Others go on with the interpreter.
pub fn prepare_translator() -> Result<(), Unavailable> {
    cpu::prepare_translator(map::trap_range())
}

/// The images of this kernel, with everything they export.
pub fn modules() -> Vec<Module> {
    vec![
        Module {
            name: "ntoskrnl.exe",
            exports: ntoskrnl::exports(),
            data: ntoskrnl::data_exports(),
        },
        Module { name: "hal.dll", exports: hal::exports(), data: Vec::new() },
    ]
}

/// Starts the components in their order, and the processes and threads of the outside world.
fn start(k: &mut Kernel) -> Result<State, Stop> {
    mm::start(k)?;
    ke::start(k)?;
    ob::start(k)?;
    ps::start(k)?;
    let system = ps::create_process(k, "System")?;
    for _ in 0..k.cores.len() {
        let idle = ps::create_thread(k, system, true)?;
        k.ke.idle_threads.push(idle);
    }
    let system_thread = ps::create_thread(k, system, true)?;
    let client = ps::create_process(k, "client.exe")?;
    let caller = ps::create_thread(k, client, false)?;
    io::start(k)?;
    start_data(k)?;
    Ok(State {
        system_thread: Saved::new(system_thread),
        callers: Saved::new(vec![caller]),
        elsewhere: Saved::default(),
        ended: Saved::default(),
        files: SavedMap::default(),
        is_loaded: false,
    })
}

/// Maps and fills the variables that the images export.
fn start_data(k: &mut Kernel) -> Result<(), Stop> {
    let (base, size_bytes) = map::DATA_EXPORTS;
    let perms = guest_memory::Perms::READ | guest_memory::Perms::WRITE;
    let state = guest_memory::ByteState::DEFINED;
    let mapped = k.memory.map(base, guest_memory::PAGE_BYTES, perms, state, 0);
    mapped.map_err(|error| Stop::Limit { what: error.to_string() })?;
    let mut next = base;
    for module in modules() {
        for data in module.data.iter().copied().flatten() {
            (data.init)(k, next)?;
            k.exports.add_data(module.name, data.name, next);
            next = next.add(data.size_bytes.next_multiple_of(16));
            assert!(
                next.0 - base.0 <= guest_memory::PAGE_BYTES.min(size_bytes),
                "data exports fit a page"
            );
        }
    }
    Ok(())
}

/// Turns the kernel's reason into the machine's.
pub(crate) fn stopped(stop: Stop) -> Stopped {
    match stop {
        Stop::Unsupported { feature } => Stopped::Unsupported { feature },
        Stop::BugCheck(BugCheck { code, parameters }) => Stopped::BugCheck { code, parameters },
        Stop::Violation => Stopped::Violation,
        Stop::Exception(exception) => Stopped::Unsupported {
            feature: format!("exception {} outside of any service", exception.code),
        },
        Stop::Limit { what } => Stopped::Limit { what },
    }
}
