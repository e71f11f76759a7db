//! Walks a thread's stack by unwind data, through guest code and through the kernel's own frames.
//!
//! Source: "x64 exception handling",
//! <https://learn.microsoft.com/cpp/build/exception-handling-x64>.

use cpu::Registers;
use guest_memory::{GuestAddr, GuestMemory, PAGE_BYTES};
use pe_image::unwind::{RuntimeFunction, UnwindInfo, UnwindOp};

use super::epilogue::{self, Step};
use crate::{Activation, ExportTable, Kernel, LoadedImage, TrapTarget, registers::RSP};

/// More frames than a kernel stack can hold.
const FRAME_LIMIT: usize = 512;

/// Where a walk stands: the registers of one guest frame.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Registers as they are in this frame; `rip` is the instruction, or the return address of a
    /// call.
    pub regs: Registers,
    /// True if `rip` is a return address.
    pub is_return: bool,
    /// How many activations lie below the guest code that is walked.
    pub level: usize,
}

/// What unwind data says about the frame of a cursor.
#[derive(Clone, Debug)]
pub struct FrameFacts {
    /// Base of the image.
    pub image_base: GuestAddr,
    /// The function table entry.
    pub function: RuntimeFunction,
    /// The establisher frame: what handlers identify the frame by.
    pub establisher: u64,
    /// Language handler and its data, with their conditions.
    pub handler: Option<Handler>,
}

/// A language specific handler of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Handler {
    /// The routine.
    pub routine: GuestAddr,
    /// Its data.
    pub data: GuestAddr,
    /// Takes part in the search.
    pub is_exception: bool,
    /// Is called while unwinding.
    pub is_termination: bool,
}

impl Kernel {
    /// A cursor at the guest code that runs or called the kernel now.
    pub fn cursor(&self) -> Cursor {
        let level = self.core().thread.map_or(0, |id| self.ke.thread(id).activations.len());
        Cursor { regs: self.core().regs.clone(), is_return: false, level }
    }

    /// What the unwind data says about this frame; `None` for a leaf function and outside of
    /// images.
    pub fn frame_facts(&self, cursor: &Cursor) -> Option<FrameFacts> {
        let (image, rva) = self.code_at(cursor.regs.rip)?;
        let function = image.image.functions().lookup(rva)?;
        let chain = UnwindInfo::read_chain(&mut read_image(image), function).ok()?;
        let (primary, last) = chain.last()?;
        let establisher = establisher(&chain, rva, &cursor.regs);
        let routine = last.handler_rva.zip(last.handler_data_rva);
        let in_prologue = rva.wrapping_sub(primary.begin_rva) < u32::from(last.prologue_bytes);
        // In prologue and epilogue the function has no handler: "x64 exception handling", unwind
        // procedure, cases a and b.
        let is_inside = !in_prologue && epilogue_at(image, function, &chain, rva).is_none();
        let handler = routine.filter(|_| is_inside).map(|(routine, data)| Handler {
            routine: image.base.add(u64::from(routine)),
            data: image.base.add(u64::from(data)),
            is_exception: last.flags.has_exception_handler,
            is_termination: last.flags.has_termination_handler,
        });
        Some(FrameFacts { image_base: image.base, function, establisher, handler })
    }

    /// Goes to the caller's frame; `None` at the end of the stack or where it cannot be followed.
    pub fn unwind(&self, cursor: &Cursor) -> Option<Cursor> {
        let mut caller = cursor.clone();
        self.to_caller(&mut caller, &mut Words::of(&self.memory))?;
        Some(caller)
    }

    /// The same in place. After `None` the cursor means nothing.
    fn to_caller(&self, cursor: &mut Cursor, words: &mut Words<'_>) -> Option<()> {
        let regs = &mut cursor.regs;
        if regs.rip == ExportTable::return_address().0 {
            *cursor = self.below_entry(cursor.level)?;
            return Some(());
        }
        let unwound = self.code_at(regs.rip).and_then(|(image, rva)| {
            let function = image.image.functions().lookup(rva)?;
            let chain = UnwindInfo::read_chain(&mut read_image(image), function).ok()?;
            Some((epilogue_at(image, function, &chain, rva), chain, rva))
        });
        match unwound {
            Some((Some(steps), ..)) => finish(words, &steps, regs)?,
            Some((None, chain, rva)) => undo(words, &chain, rva, regs)?,
            None => {}
        }
        let rsp = regs.gpr.get_mut(RSP)?;
        regs.rip = words.at(*rsp)?;
        *rsp = rsp.wrapping_add(8);
        cursor.is_return = true;
        Some(())
    }

    /// Guest code that the kernel's frames below `level` stand for: who called the export that
    /// called this entry.
    fn below_entry(&self, level: usize) -> Option<Cursor> {
        let activations = &self.ke.thread(self.core().thread?).activations;
        let below = activations.get(..level)?;
        below.iter().enumerate().rev().find_map(|(index, activation)| match activation {
            Activation::Export(regs, _) => {
                Some(Some(Cursor { regs: (**regs).clone(), is_return: false, level: index }))
            }
            Activation::Raised(regs) => {
                Some(Some(Cursor { regs: (**regs).clone(), is_return: false, level: index }))
            }
            // Nothing looks past an interrupt: a DPC has no callers.
            Activation::Interrupted(_) => Some(None),
            Activation::Frame(_) | Activation::Entry { .. } => None,
        })?
    }

    /// Instruction addresses of the current thread's stack, innermost first; the flag marks return
    /// addresses.
    pub fn backtrace(&self) -> Vec<(GuestAddr, bool)> {
        self.frames().collect()
    }

    /// The same, no further than somebody looks: most who ask want the innermost few.
    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames {
            kernel: self,
            words: Words::of(&self.memory),
            cursor: self.core().thread.map(|_| self.cursor()),
            is_new: true,
            jump: None,
            left: FRAME_LIMIT,
        }
    }

    /// The jump to the kernel routine at which a walk stands.
    fn jump_to(&self, at: &Cursor) -> Option<GuestAddr> {
        let target = self.exports.target(GuestAddr(at.regs.rip))?;
        let rsp = at.regs.gpr.get(RSP)?;
        matches!(target, TrapTarget::Export(_)).then(|| self.tail_jump(*rsp))?
    }

    /// The image around an address, and the offset in it.
    fn code_at(&self, at: u64) -> Option<(&LoadedImage, u32)> {
        let image = self.image_at(GuestAddr(at))?;
        Some((image, u32::try_from(at - image.base.0).ok()?))
    }
}

/// The frames of a stack, as they are walked.
pub(crate) struct Frames<'a> {
    kernel: &'a Kernel,
    words: Words<'a>,
    cursor: Option<Cursor>,
    /// The frame of the cursor was not looked at.
    is_new: bool,
    /// The jump that stands for a frame of its own.
    jump: Option<GuestAddr>,
    left: usize,
}

impl Iterator for Frames<'_> {
    type Item = (GuestAddr, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(jump) = self.jump.take() {
            self.left = self.left.saturating_sub(1);
            return Some((jump, false));
        }
        self.left = self.left.checked_sub(1)?;
        let cursor = self.cursor.as_mut()?;
        loop {
            if !std::mem::take(&mut self.is_new)
                && self.kernel.to_caller(cursor, &mut self.words).is_none()
            {
                self.cursor = None;
                return None;
            }
            if cursor.regs.rip != ExportTable::return_address().0 {
                self.jump = self.kernel.jump_to(cursor);
                return Some((GuestAddr(cursor.regs.rip), cursor.is_return));
            }
        }
    }
}

/// Words of a stack; its page is looked up once.
struct Words<'a> {
    memory: &'a GuestMemory,
    page: GuestAddr,
    bytes: Option<&'a [u8; 4096]>,
}

impl<'a> Words<'a> {
    fn of(memory: &'a GuestMemory) -> Self {
        // No word begins in the page of this address.
        Self { memory, page: GuestAddr(u64::MAX), bytes: None }
    }

    fn at(&mut self, at: u64) -> Option<u64> {
        let offset = at % PAGE_BYTES;
        if offset > PAGE_BYTES - 8 {
            let parts = [at - offset, (at - offset).wrapping_add(PAGE_BYTES)];
            let [low, high] = parts.map(|page| self.memory.page_bytes(GuestAddr(page)));
            let bytes = [low?.as_slice(), high?.as_slice()].concat();
            return word(&bytes, offset);
        }
        if self.page != GuestAddr(at).page() {
            self.page = GuestAddr(at).page();
            self.bytes = self.memory.page_bytes(self.page);
        }
        word(self.bytes?, offset)
    }
}

fn word(bytes: &[u8], offset: u64) -> Option<u64> {
    let bytes = bytes.get(usize::try_from(offset).ok()?..)?;
    bytes.first_chunk().copied().map(u64::from_le_bytes)
}

/// Reads unwind data from the image as it was mapped: a driver cannot change it, and hostile images
/// can lie only within their own bytes.
pub(crate) fn read_image(image: &LoadedImage) -> impl FnMut(u32, &mut [u8]) -> bool {
    |rva, out| image.image.mapped().read(rva, out)
}

type Chain = [(RuntimeFunction, UnwindInfo)];

/// Whether a prologue step had been done at `rva`. Steps of chained parts are all done.
fn is_done(part: (usize, &RuntimeFunction), rva: u32, prologue_offset: u8) -> bool {
    part.0 > 0 || rva.wrapping_sub(part.1.begin_rva) >= u32::from(prologue_offset)
}

/// The frame base: the frame register less its offset once it is set, else rsp.
fn establisher(chain: &Chain, rva: u32, regs: &Registers) -> u64 {
    let rsp = regs.gpr.get(RSP).copied().unwrap_or_default();
    for (index, (function, info)) in chain.iter().enumerate() {
        let Some(register) = info.frame_register else { continue };
        let is_set = info.codes.iter().any(|code| {
            code.op == UnwindOp::SetFrameRegister
                && is_done((index, function), rva, code.prologue_offset)
        });
        if is_set || index > 0 {
            let base = regs.gpr.get(usize::from(register)).copied().unwrap_or_default();
            return base.wrapping_sub(u64::from(info.frame_offset_bytes));
        }
    }
    rsp
}

/// What is left of the epilogue, if `rva` lies in one.
fn epilogue_at(
    image: &LoadedImage,
    function: RuntimeFunction,
    chain: &Chain,
    rva: u32,
) -> Option<Vec<Step>> {
    let functions = image.image.functions();
    let is_part = |part| {
        let chain = UnwindInfo::read_chain(&mut read_image(image), part);
        chain.is_ok_and(|chain| chain.len() > 1)
    };
    let is_tail_call =
        |target| epilogue::is_tail_call(function, target, |rva| functions.lookup(rva), is_part);
    let frame_register = chain.iter().find_map(|(_, info)| info.frame_register);
    epilogue::rest(&mut read_image(image), rva, frame_register, is_tail_call)
}

/// Does what is left of an epilogue, up to its return or jump.
fn finish(words: &mut Words<'_>, steps: &[Step], regs: &mut Registers) -> Option<()> {
    for step in steps {
        let rsp = *regs.gpr.get(RSP)?;
        let (register, value) = match *step {
            Step::Free { size_bytes } => (RSP, rsp.wrapping_add(u64::from(size_bytes))),
            Step::FreeFrom { register, displacement } => {
                let base = *regs.gpr.get(usize::from(register))?;
                (RSP, base.wrapping_add_signed(i64::from(displacement)))
            }
            Step::Pop { register } => {
                let value = words.at(rsp)?;
                *regs.gpr.get_mut(RSP)? = rsp.wrapping_add(8);
                (usize::from(register), value)
            }
        };
        *regs.gpr.get_mut(register)? = value;
    }
    Some(())
}

/// Undoes the prologue as far as it was done.
fn undo(words: &mut Words<'_>, chain: &Chain, rva: u32, regs: &mut Registers) -> Option<()> {
    let frame = establisher(chain, rva, regs);
    for (index, (function, info)) in chain.iter().enumerate() {
        for code in &info.codes {
            if !is_done((index, function), rva, code.prologue_offset) {
                continue;
            }
            match code.op {
                UnwindOp::PushNonvolatile { register } => {
                    let rsp = *regs.gpr.get(RSP)?;
                    *regs.gpr.get_mut(usize::from(register))? = words.at(rsp)?;
                    *regs.gpr.get_mut(RSP)? = rsp.wrapping_add(8);
                }
                UnwindOp::Allocate { size_bytes } => {
                    let rsp = regs.gpr.get_mut(RSP)?;
                    *rsp = rsp.wrapping_add(u64::from(size_bytes));
                }
                UnwindOp::SetFrameRegister => *regs.gpr.get_mut(RSP)? = frame,
                UnwindOp::SaveNonvolatile { register, offset_bytes } => {
                    let at = frame.wrapping_add(u64::from(offset_bytes));
                    *regs.gpr.get_mut(usize::from(register))? = words.at(at)?;
                }
                UnwindOp::SaveXmm128 { register, offset_bytes } => {
                    let at = frame.wrapping_add(u64::from(offset_bytes));
                    let (low, high) = (words.at(at)?, words.at(at.wrapping_add(8))?);
                    *regs.xmm.get_mut(usize::from(register))? =
                        u128::from(low) | u128::from(high) << 64;
                }
                // Only trap handlers of the kernel itself have one.
                UnwindOp::PushMachineFrame { .. } => return None,
                UnwindOp::EpilogueSize { .. } | UnwindOp::EpilogueAt { .. } => {}
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guest_memory::{Accessor, GuestAddr};
    use pe_image::{
        Image,
        builder::{CODE, CONSTANTS, ImageBuilder},
    };

    use super::Cursor;
    use crate::{Kernel, LoadedImage, testing};

    const BASE: u64 = 0xffff_f804_1234_0000;
    const CALLER: u64 = 0x1111;

    /// push rbx; push rsi; sub rsp, 28h; nop; add rsp, 28h; pop rsi; pop rbx; ret
    const FUNCTION: [u8; 16] = [
        0x53, 0x56, 0x48, 0x83, 0xec, 0x28, 0x90, 0x48, 0x83, 0xc4, 0x28, 0x5e, 0x5b, 0xc3, 0xcc,
        0xcc,
    ];
    /// Version 1 with a handler; the steps of the prologue, last first; the handler at 0x1000.
    const UNWIND: [u8; 16] = [0x09, 6, 3, 0, 6, 0x42, 2, 0x60, 1, 0x30, 0, 0, 0, 0x10, 0, 0];
    /// The offset of each instruction, and how far the frame is built there, in bytes.
    const PLACES: [(u64, u64); 8] =
        [(0, 0), (1, 8), (2, 16), (6, 56), (7, 56), (11, 16), (12, 8), (13, 0)];

    /// A kernel with an image of one function, and the offset of that.
    fn with_function() -> (Kernel, u64) {
        with_image(&FUNCTION, &UNWIND)
    }

    /// The same with this function and unwind data.
    fn with_image(function: &[u8], unwind: &[u8]) -> (Kernel, u64) {
        let mut builder = ImageBuilder::new();
        let code = builder.section(".text", CODE, function);
        let info = builder.section(".xdata", CONSTANTS, unwind);
        let end = code + u32::try_from(function.len()).unwrap().min(14);
        let entry = [code, end, info].map(u32::to_le_bytes).concat();
        let table = builder.section(".pdata", CONSTANTS, &entry);
        // IMAGE_DIRECTORY_ENTRY_EXCEPTION.
        builder.directory(3, table, 12);
        let image = Image::parse(&builder.build()).expect("a complete image");
        let mut k = testing::kernel();
        let loaded = LoadedImage {
            name: "one.sys".to_owned(),
            base: GuestAddr(BASE),
            size_bytes: 0x10_0000,
            image: Arc::new(image),
        };
        k.images.push(loaded);
        (k, u64::from(code))
    }

    #[test]
    fn every_instruction_of_a_function_unwinds_to_the_same_caller() {
        let (mut k, code) = with_function();
        let top = k.regs().gpr[4] - 0x200;
        let machine = Accessor::Machine;
        k.memory.write(machine, GuestAddr(top), &CALLER.to_le_bytes()).unwrap();
        for (offset, built_bytes) in PLACES {
            let regs = k.regs();
            regs.rip = BASE + code + offset;
            regs.gpr[4] = top - built_bytes;
            // The caller's values are in the registers until they are pushed and once popped.
            regs.gpr[3] = if built_bytes >= 8 { 0 } else { 0xb };
            regs.gpr[6] = if built_bytes >= 16 { 0 } else { 0x51 };
            k.memory.write(machine, GuestAddr(top - 8), &0xb_u64.to_le_bytes()).unwrap();
            k.memory.write(machine, GuestAddr(top - 16), &0x51_u64.to_le_bytes()).unwrap();
            let cursor = k.cursor();
            let Cursor { regs, is_return, .. } = k.unwind(&cursor).expect("a caller");
            let found = [regs.rip, regs.gpr[4], regs.gpr[3], regs.gpr[6]];
            assert_eq!(found, [CALLER, top + 8, 0xb, 0x51], "at {offset}");
            assert!(is_return);
        }
    }

    /// push rbp; mov rbp, rsp; nop; nop
    const FRAMED: [u8; 6] = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x90];
    /// Version 1; `SetFrameRegister` of rbp at 4, a push of rbp at 1.
    const FRAMED_UNWIND: [u8; 8] = [1, 4, 2, 5, 4, 3, 1, 0x50];

    #[test]
    fn a_stack_that_leads_in_a_circle_ends() {
        let (mut k, code) = with_image(&FRAMED, &FRAMED_UNWIND);
        let threads = testing::with_threads(&mut k, 1);
        let (frame, inside) = (k.regs().gpr[4] - 0x200, BASE + code + 5);
        let raised = k.begin(threads[0], move |k| {
            let machine = Accessor::Machine;
            k.memory.write(machine, GuestAddr(frame), &frame.to_le_bytes()).unwrap();
            k.memory.write(machine, GuestAddr(frame + 8), &inside.to_le_bytes()).unwrap();
            let regs = k.regs();
            (regs.rip, regs.gpr[4], regs.gpr[5]) = (inside, frame, frame);
            let caller = k.unwind(&k.cursor()).expect("it calls itself");
            let found = [caller.regs.rip, caller.regs.gpr[4], caller.regs.gpr[5]];
            assert_eq!(found, [inside, frame + 16, frame]);
            k.raise(crate::Exception {
                code: nt_abi::NtStatus::STATUS_ACCESS_VIOLATION,
                access: None,
                is_provoked: false,
            })
        });
        // Nobody handles it: 0x7E in a system thread.
        assert_eq!(testing::bug_check_code(raised), 0x7e);
    }

    #[test]
    fn neither_prologue_nor_epilogue_has_a_handler() {
        let (mut k, code) = with_function();
        for (offset, _) in PLACES {
            k.regs().rip = BASE + code + offset;
            let cursor = k.cursor();
            let facts = k.frame_facts(&cursor).expect("the function has unwind data");
            assert_eq!(facts.handler.is_some(), offset == 6, "at {offset}");
        }
    }
}
