//! A kernel without guest code, for the tests of components: exports are called with registers set
//! by hand.

use choice_tape::{Deviation, Tape};
use cpu::{Clock, Processor, Registers};
use events::{BlockKind, Event, Observer, Origin, Seq, Verdict};
use guest_memory::{Accessor, GuestAddr, GuestMemory, Limits};
use nt_abi::Irql;

use crate::{CallResult, Config, Core, Export, ExportTable, Flow, Kernel, Module, Stop, map, mm};

/// Keeps what it hears.
#[derive(Clone, Debug, Default)]
struct Recorder {
    events: Vec<Event>,
}

impl Observer for Recorder {
    fn observe(&mut self, _: &Origin, event: &Event) -> Verdict {
        self.events.push(event.clone());
        Verdict::Continue
    }

    fn boxed_clone(&self) -> Box<dyn Observer> {
        Box::new(self.clone())
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

/// A kernel at `PASSIVE_LEVEL` in the thread of a user process, with friendly answers to every
/// question.
pub(crate) fn kernel() -> Kernel {
    kernel_with([])
}

/// A kernel whose tape deviates.
pub(crate) fn kernel_with(deviations: impl IntoIterator<Item = Deviation>) -> Kernel {
    let module = Module { name: "ntoskrnl.exe", exports: crate::exports(), data: Vec::new() };
    let trap_range = map::TRAPS.0.0..map::TRAPS.0.0 + map::TRAPS.1;
    let mut k = Kernel {
        config: Config { fill: 0xcd, limit_events: 1_000_000, record: Vec::new(), trace: false },
        exports: ExportTable::new(&[module]),
        observer: Box::new(Recorder::default()),
        tape: Tape::new(deviations),
        memory: GuestMemory::new(Limits { frames: 1 << 14, blocks: 1 << 16, spaces: 4 }),
        cores: vec![Core {
            index: 0,
            cpu: Processor::new(trap_range),
            regs: Registers::new(),
            irql: Irql::PASSIVE_LEVEL,
            irql_changed: None,
            control: GuestAddr::NULL,
            thread: None,
            call: None,
            returned: GuestAddr::NULL,
        }],
        current: 0,
        clock: Clock { events: 0, limit_events: u64::MAX },
        idle_100ns: 0,
        call_digest: 0,
        last_seq: Seq(0),
        images: Vec::new(),
        debug_output: Vec::new(),
        trace: Vec::new(),
        recorded: Vec::new(),
        rtl: crate::rtl::State::default(),
        ke: crate::ke::State::default(),
        ex: crate::ex::State::default(),
        mm: mm::State::default(),
        ob: crate::ob::State::default(),
        ps: crate::ps::State::default(),
        io: crate::io::State::default(),
    };
    mm::start(&mut k).expect("a fresh memory has room");
    crate::ke::start(&mut k).expect("a fresh memory has room");
    crate::ob::start(&mut k).expect("a fresh memory has room");
    crate::ps::start(&mut k).expect("a fresh memory has room");
    crate::io::start(&mut k);
    let (_, high) = mm::allocate_stack(&mut k).expect("a fresh memory has room");
    k.regs().gpr[4] = high.0 - 0x1000 + 8;
    k
}

/// What one call of an export came to.
pub(crate) fn call(k: &mut Kernel, export: &Export, arguments: &[u64]) -> CallResult<u64> {
    let rsp = k.regs().gpr[4];
    for (index, argument) in arguments.iter().enumerate() {
        match index {
            0 => k.regs().gpr[1] = *argument,
            1 => k.regs().gpr[2] = *argument,
            2 => k.regs().gpr[8] = *argument,
            3 => k.regs().gpr[9] = *argument,
            _ => {
                let at = GuestAddr(rsp + 8 + 8 * index as u64);
                k.memory.write(Accessor::Machine, at, &argument.to_le_bytes()).unwrap();
            }
        }
    }
    k.core_mut().call = Some((export.written_as.unwrap_or(export.name), GuestAddr(0x1234)));
    let flow = (export.call)(k);
    k.core_mut().call = None;
    match flow? {
        Flow::Return(value) => Ok(value),
        other => panic!("{} did not return: {other:?}", export.name),
    }
}

/// Calls an export by name.
pub(crate) fn call_by_name(k: &mut Kernel, name: &str, arguments: &[u64]) -> CallResult<u64> {
    let lists = crate::exports();
    let found = lists.iter().flat_map(|list| list.iter()).find(|export| export.name == name);
    call(k, found.unwrap_or_else(|| panic!("no export {name}")), arguments)
}

/// Puts bytes into a block of exactly their length.
pub(crate) fn block(k: &mut Kernel, bytes: &[u8]) -> u64 {
    let at = mm::allocate_kernel(k, BlockKind::KernelPool, bytes.len() as u64, 16).unwrap();
    k.memory.write(Accessor::Machine, at, bytes).unwrap();
    at.0
}

/// Puts a zero-terminated string into a block of exactly its length.
pub(crate) fn narrow(k: &mut Kernel, text: &str) -> u64 {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    block(k, &bytes)
}

/// Puts a zero-terminated UTF-16 string into a block of exactly its length.
pub(crate) fn wide(k: &mut Kernel, text: &str) -> u64 {
    let bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    block(k, &bytes)
}

/// Makes a `UNICODE_STRING` over a buffer with room for `maximum_bytes`.
pub(crate) fn unicode_string(k: &mut Kernel, text: &str, maximum_bytes: u16) -> u64 {
    let mut bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length_bytes = u16::try_from(bytes.len()).unwrap();
    bytes.resize(usize::from(maximum_bytes.max(length_bytes)), 0xee);
    let buffer = block(k, &bytes);
    let at = GuestAddr(block(k, &[0; 16]));
    let maximum_bytes = maximum_bytes.max(length_bytes);
    k.set_counted_string(at, length_bytes, maximum_bytes, GuestAddr(buffer)).unwrap();
    at.0
}

/// Reads a zero-terminated string.
pub(crate) fn narrow_at(k: &mut Kernel, at: u64) -> String {
    let bytes = k.c_string::<u8>(GuestAddr(at), usize::MAX).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a zero-terminated UTF-16 string.
pub(crate) fn wide_at(k: &mut Kernel, at: u64) -> String {
    String::from_utf16_lossy(&k.c_string::<u16>(GuestAddr(at), usize::MAX).unwrap())
}

/// Reads a `UNICODE_STRING`.
pub(crate) fn unicode_at(k: &mut Kernel, at: u64) -> String {
    String::from_utf16_lossy(&k.unicode_string(GuestAddr(at)).unwrap())
}

/// Takes the events heard since the last time.
pub(crate) fn take_events(k: &mut Kernel) -> Vec<Event> {
    let recorder = k.observer.as_any().downcast_mut::<Recorder>().expect("the recorder is set");
    std::mem::take(&mut recorder.events)
}

/// The code of the bug check in a result.
pub(crate) fn bug_check_code<T: std::fmt::Debug>(result: CallResult<T>) -> u32 {
    match result {
        Err(Stop::BugCheck(check)) => check.code,
        other => panic!("expected a bug check, got {other:?}"),
    }
}
