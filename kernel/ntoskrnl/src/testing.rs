//! A kernel without guest code, for the tests of components: exports are called with registers set
//! by hand.

use std::{any::Any, sync::Arc};

use choice_tape::{Deviation, Tape};
use events::{BlockKind, Event, Observer, Origin, ThreadId, Verdict};
use guest_memory::{Accessor, GuestAddr, Limits};
use pe_image::Image;

use crate::{
    Call, CallResult, Config, Export, Flow, Frame, GuestCall, Kernel, LoadedImage, Module, Stop,
    Wait, mm,
    registers::{ARGUMENTS, RSP},
};

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

    fn capture(&mut self) -> Box<dyn Any + Send> {
        Box::new(self.clone())
    }

    fn restore(&mut self, copy: &(dyn Any + Send)) {
        self.clone_from(copy.downcast_ref().expect("a copy of its own"));
    }

    fn as_any(&mut self) -> &mut dyn Any {
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
    kernel_of(1, deviations)
}

/// A kernel with several processors.
pub(crate) fn kernel_on(processors: u8) -> Kernel {
    kernel_of(processors, [])
}

/// A kernel of so many processors whose tape deviates.
pub(crate) fn kernel_of(processors: u8, deviations: impl IntoIterator<Item = Deviation>) -> Kernel {
    let module = Module { name: "ntoskrnl.exe", exports: crate::exports(), data: Vec::new() };
    let config = Config {
        fill: 0xcd,
        limit_events: 1_000_000,
        record: Vec::new(),
        trace: false,
        processors,
        tier: cpu::Tier::Interpreter,
    };
    let limits = Limits { frames: 1 << 14, blocks: 1 << 16, spaces: 4 };
    let mut k = Kernel::new(
        config,
        &[module],
        Box::new(Recorder::default()),
        Tape::new(deviations),
        limits,
    );
    mm::start(&mut k).expect("a fresh memory has room");
    crate::ke::start(&mut k).expect("a fresh memory has room");
    crate::ob::start(&mut k).expect("a fresh memory has room");
    crate::ps::start(&mut k).expect("a fresh memory has room");
    crate::io::start(&mut k).expect("a fresh memory has room");
    let (_, high) = mm::allocate_stack(&mut k).expect("a fresh memory has room");
    k.regs().gpr[RSP] = high.0 - 0x1000 + 8;
    k
}

/// What one call of an export came to.
pub(crate) fn call(k: &mut Kernel, export: &Export, arguments: &[u64]) -> CallResult<u64> {
    match start(k, export, arguments)? {
        Flow::Return(value) => Ok(value),
        other => panic!("{} did not return: {other:?}", export.name),
    }
}

/// Calls an export and lets it get as far as it can without guest code.
pub(crate) fn start(k: &mut Kernel, export: &Export, arguments: &[u64]) -> CallResult<Flow> {
    put_arguments(k, arguments);
    let name = export.written_as.unwrap_or(export.name);
    k.core_mut().call = Some(Call { name, from: GuestAddr(0x1234), jump: None });
    let flow = (export.call)(k);
    k.core_mut().call = None;
    flow
}

/// Puts arguments where a callee finds them at its first instruction.
fn put_arguments(k: &mut Kernel, arguments: &[u64]) {
    for (index, argument) in arguments.iter().enumerate() {
        match ARGUMENTS.get(index) {
            Some(&register) => k.set_gpr(register, *argument),
            None => {
                let at = GuestAddr(k.gpr(RSP) + 8 + 8 * index as u64);
                k.memory.write(Accessor::Machine, at, &argument.to_le_bytes()).unwrap();
            }
        }
    }
}

/// Calls an export by name.
pub(crate) fn call_by_name(k: &mut Kernel, name: &str, arguments: &[u64]) -> CallResult<u64> {
    call(k, &export_named(name), arguments)
}

/// An export by name.
pub(crate) fn export_named(name: &str) -> Export {
    let lists = crate::exports();
    let found = lists.iter().flat_map(|list| list.iter()).find(|export| export.name == name);
    *found.unwrap_or_else(|| panic!("no export {name}"))
}

/// A driver in Rust: what stands for its routines, called with the kernel's call.
pub(crate) type Guest<'a> = &'a mut dyn FnMut(&mut Kernel, &GuestCall) -> u64;

/// A flow that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) wait: Wait,
    frames: Vec<Box<dyn Frame>>,
}

/// How far a flow got.
#[derive(Debug)]
pub(crate) enum Progress {
    Done(u64),
    Waits(Waiting),
}

/// Carries a flow on, with a driver in Rust in place of guest code, until it has its value or waits
/// for what is not there.
pub(crate) fn carry_on(
    k: &mut Kernel,
    flow: CallResult<Flow>,
    guest: Guest<'_>,
) -> CallResult<Progress> {
    advance(k, flow, Vec::new(), guest)
}

/// Tries a wait again and carries on.
pub(crate) fn wait_again(
    k: &mut Kernel,
    waiting: Waiting,
    guest: Guest<'_>,
) -> CallResult<Progress> {
    advance(k, Ok(Flow::Wait(waiting.wait, Vec::new())), waiting.frames, guest)
}

fn advance(
    k: &mut Kernel,
    mut flow: CallResult<Flow>,
    mut frames: Vec<Box<dyn Frame>>,
    guest: Guest<'_>,
) -> CallResult<Progress> {
    loop {
        let value = match flow? {
            Flow::Return(value) => value,
            Flow::Call(call, inner) => {
                frames.extend(inner.into_iter().rev());
                guest(k, &call)
            }
            Flow::Wait(wait, inner) => {
                frames.extend(inner.into_iter().rev());
                match k.try_satisfy(&wait, GuestAddr::NULL)? {
                    Some(status) => u64::from(status.0),
                    None => return Ok(Progress::Waits(Waiting { wait, frames })),
                }
            }
            other => panic!("a component test cannot carry on {other:?}"),
        };
        match frames.pop() {
            Some(frame) => flow = frame.resume(k, value),
            None => return Ok(Progress::Done(value)),
        }
    }
}

/// Calls an export by name, with a driver in Rust in place of guest code. It must not wait.
pub(crate) fn drive(
    k: &mut Kernel,
    name: &str,
    arguments: &[u64],
    guest: Guest<'_>,
) -> CallResult<u64> {
    let flow = start(k, &export_named(name), arguments);
    match carry_on(k, flow, guest)? {
        Progress::Done(value) => Ok(value),
        Progress::Waits(waiting) => panic!("{name} waits: {waiting:?}"),
    }
}

/// Lets a driver's image stand here. Nothing of it is mapped, nobody runs it.
pub(crate) fn place_image(k: &mut Kernel, base: GuestAddr) {
    let bytes = include_bytes!("../../../samples/zero.sys");
    let image = Image::parse(bytes).expect("samples are images");
    let (name, size_bytes) = ("zero.sys".to_owned(), u64::from(image.image_bytes()));
    k.images.push(LoadedImage { name, base, size_bytes, image: Arc::new(image) });
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

/// Makes the calling thread that tests of waits need, in a process of its own.
pub(crate) fn with_threads(k: &mut Kernel, count: usize) -> Vec<ThreadId> {
    let system = crate::ps::create_process(k, "System").unwrap();
    for _ in 0..k.cores.len() {
        let idle = crate::ps::create_thread(k, system, true).unwrap();
        k.ke.idle_threads.push(idle);
    }
    (0..count).map(|_| crate::ps::create_thread(k, system, true).unwrap()).collect()
}

/// Starts a call of an export as the service of a thread, and runs until it can go no further;
/// its value, if it has one. Time passes for at most a second.
pub(crate) fn run_call(
    k: &mut Kernel,
    thread: ThreadId,
    name: &str,
    arguments: &[u64],
) -> CallResult<Option<u64>> {
    let arguments = arguments.to_vec();
    k.begin(thread, move |k| {
        let rsp = k.gpr(RSP) - 0x100;
        k.set_gpr(RSP, rsp);
        flow_of(k, name, &arguments)
    })?;
    result_of(k, thread)
}

/// What a call of an export leads to, as part of a service.
pub(crate) fn flow_of(k: &mut Kernel, name: &str, arguments: &[u64]) -> CallResult<Flow> {
    put_arguments(k, arguments);
    (export_named(name).call)(k)
}

/// Runs until a thread's call has its value or nothing can go on for a second.
pub(crate) fn result_of(k: &mut Kernel, thread: ThreadId) -> CallResult<Option<u64>> {
    let until = k.interrupt_time_100ns() + 10_000_000;
    k.run(thread, until)?;
    Ok(k.ke.thread(thread).result)
}

/// Puts machine code where it can run.
pub(crate) fn code(k: &mut Kernel, bytes: &[u8]) -> u64 {
    let at = call_by_name(k, "ExAllocatePoolWithTag", &[0, 64, 0x6564_6f43]).unwrap();
    k.memory.write(Accessor::Machine, GuestAddr(at), bytes).unwrap();
    at
}

/// A routine that appends the IRQL at which it runs, plus a number of its own, to a list: the first
/// byte counts, the entries follow.
pub(crate) fn irql_recorder(k: &mut Kernel, list: u64, number: u8) -> u64 {
    let mut bytes = vec![0x48, 0xba];
    bytes.extend(list.to_le_bytes());
    // movzx ecx, byte ptr [rdx]; inc byte ptr [rdx]; mov rax, cr8; add al, imm; mov [rdx+rcx+1], al
    bytes.extend([0x0f, 0xb6, 0x0a, 0xfe, 0x02, 0x44, 0x0f, 0x20, 0xc0, 0x04, number]);
    bytes.extend([0x88, 0x44, 0x0a, 0x01, 0xc3]);
    code(k, &bytes)
}

/// What such routines recorded.
pub(crate) fn recorded(k: &mut Kernel, list: u64) -> Vec<u8> {
    let mut bytes = [0; 16];
    k.memory.read(Accessor::Machine, GuestAddr(list), &mut bytes).unwrap();
    let [count, entries @ ..] = bytes;
    entries.into_iter().take(usize::from(count)).collect()
}
