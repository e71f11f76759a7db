//! Differences between two outcomes of a case, leaving aside what the architecture leaves
//! undefined.

use cpu::Registers;
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};
use x86_ops::undefined_flags::{
    ARITHMETIC, DF, Inputs, Leaves, X87_C0_C2_C3, X87_C1, left_undefined,
};

use super::case::{Case, Ending, Outcome, WINDOW, WINDOW_BYTES, abridged_tags};

/// The names of the general registers, in encoding order.
pub(crate) const GPR_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// What not to compare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignore {
    /// Flags and x87 status bits.
    pub leaves: Leaves,
    /// The register that holds an undefined result.
    pub register: Option<Register>,
    /// Bytes of the window: first offset, count.
    pub bytes: Vec<(usize, usize)>,
    /// Which of several accesses faulted.
    pub which_fault: bool,
    /// Upper halves of the registers of a string instruction.
    pub upper_halves: bool,
    /// Whether a pending x87 exception or a memory fault comes first.
    pub x87_or_memory: bool,
    /// The whole case.
    pub everything: bool,
}

impl Ignore {
    /// What one instruction leaves undefined when executed with these registers and this memory.
    pub(crate) fn after(instruction: &Instruction, case: &Case, host: &Outcome) -> Self {
        let [cl, ..] = case.before.gpr[1].to_le_bytes();
        // Of the inputs only the bit scans ask for this, and they put the answer in ZF.
        let is_source_zero = host.after.rflags & 0x40 != 0;
        // A fault leaves everything as it was.
        let leaves = match host.ending {
            Ending::Done => left_undefined(instruction, Inputs { cl, is_source_zero }),
            _ => Leaves::default(),
        };
        let mut ignore = Self { leaves, ..Self::default() };
        if leaves.destination {
            match instruction.op0_kind() {
                OpKind::Register => ignore.register = Some(instruction.op0_register()),
                _ => {
                    let size = instruction.memory_size().size();
                    ignore.bytes.extend(offset_of(instruction, case).map(|at| (at, size)));
                }
            }
        }
        if host.ending != Ending::Done {
            ignore.at_fault(instruction, case);
        }
        // With a count of zero, processors differ in whether they write 32-bit counters and
        // pointers back.
        let no_count = case.before.gpr[1] & 0xffff_ffff == 0;
        ignore.upper_halves |= instruction.is_string_instruction() && no_count;
        // AMD64 Architecture Programmer's Manual, volume 1, "MXCSR Register": bit 17 allows
        // misaligned operands. For Intel's processors, and for the interpreter, it is reserved.
        ignore.everything |= host.after.mxcsr & 1 << 17 != 0;
        // Intel 64 Software Developer's Manual, volume 3A, 6.9 "Priority Among Concurrent Events":
        // data page faults and x87 exceptions are of one class, in which the order depends on the
        // processor. Some look at the memory of a store before they compute what to store.
        ignore.x87_or_memory = may_fault_twice(instruction, case);
        if matches!(instruction.mnemonic(), Mnemonic::Fxsave | Mnemonic::Fxsave64)
            && let Some(at) = offset_of(instruction, case)
        {
            // Opcode, instruction and data pointers, and the reserved areas.
            ignore.bytes.extend([(at + 5, 19), (at + 28, 4), (at + 416, 96)]);
            ignore.bytes.extend((0..8).map(|i| (at + 42 + 16 * i, 6)));
        }
        ignore
    }

    /// What a program leaves undefined that ended so on the host.
    pub(crate) fn after_program(case: &Case, host: &Outcome) -> Self {
        let mut ignore = Self::default();
        ignore.leaves.x87_status = X87_C0_C2_C3 | X87_C1;
        if host.ending == Ending::Done {
            ignore.leaves.rflags = case.ignored_flags;
            return ignore;
        }
        ignore.leaves.rflags = case.ignored_at_fault;
        let at = host.after.rip;
        let rest = usize::try_from(at.wrapping_sub(case.address)).ok();
        let Some(code) = rest.and_then(|rest| case.code.get(rest..)) else { return ignore };
        let instruction = Decoder::with_ip(64, code, at, DecoderOptions::NONE).decode();
        // The instruction that faulted has changed nothing yet that its operands depend on.
        let there = Case { before: host.after.clone(), ..case.clone() };
        ignore.at_fault(&instruction, &there);
        ignore.x87_or_memory = may_fault_twice(&instruction, &there);
        ignore
    }

    /// What a faulting instruction may do as it likes, because the manual does not say.
    fn at_fault(&mut self, instruction: &Instruction, case: &Case) {
        let mnemonic = instruction.mnemonic();
        // With a mask, inaccessible bytes that are not stored may fault or not.
        self.everything = mnemonic == Mnemonic::Maskmovdqu;
        // The order of several accesses.
        self.which_fault = matches!(
            mnemonic,
            Mnemonic::Fxsave
                | Mnemonic::Fxsave64
                | Mnemonic::Fxrstor
                | Mnemonic::Fxrstor64
                | Mnemonic::Cmpsb
                | Mnemonic::Cmpsw
                | Mnemonic::Cmpsd
                | Mnemonic::Cmpsq
        );
        // Intel, volume 2B, "REP": when a repeated comparison faults, the flags are those before
        // the instruction. AMD processors leave those of the last iteration. No iteration reads
        // them, so the instruction goes on alike.
        let is_repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        if is_repeated && compares_strings(mnemonic) {
            self.leaves.rflags |= ARITHMETIC;
        }
        // Ten bytes are stored in two parts.
        if instruction.code() == Code::Fstp_m80fp {
            self.bytes.extend(offset_of(instruction, case).map(|at| (at, 10)));
        }
        // What a call to nowhere or an enter with no room has pushed may stay, without rsp moving.
        let is_call =
            matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if is_call || mnemonic == Mnemonic::Enter {
            let below = case.before.gpr[4].wrapping_sub(8).wrapping_sub(WINDOW);
            self.bytes.extend(usize::try_from(below).ok().map(|at| (at, 8)));
        }
        // Counters of 32 bits may have been written back, or not, when the first iteration faults.
        self.upper_halves = instruction.is_string_instruction();
    }
}

/// Returns whether an instruction is a comparison that can be repeated.
pub(crate) fn compares_strings(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{Cmpsb, Cmpsd, Cmpsq, Cmpsw, Scasb, Scasd, Scasq, Scasw};
    matches!(mnemonic, Cmpsb | Cmpsd | Cmpsq | Cmpsw | Scasb | Scasd | Scasq | Scasw)
}

/// Whether an x87 instruction may meet an exception of its own, and one of its memory operand.
fn may_fault_twice(instruction: &Instruction, case: &Case) -> bool {
    let has_memory = instruction.op0_kind() == OpKind::Memory;
    is_x87(instruction) && has_memory && case.before.x87_control & 0x3f != 0x3f
}

fn offset_of(instruction: &Instruction, case: &Case) -> Option<usize> {
    let at = instruction.virtual_address(0, 0, |register, _, _| {
        if register.is_segment_register() {
            return Some(if register == Register::GS { case.before.gs_base } else { 0 });
        }
        let full = case.before.gpr.get(register.full_register().number()).copied()?;
        Some(if register.size() == 4 { full & 0xffff_ffff } else { full })
    })?;
    usize::try_from(at.wrapping_sub(WINDOW)).ok().filter(|at| *at < WINDOW_BYTES)
}

/// Describes each difference.
pub(crate) fn differences(host: &Outcome, guest: &Outcome, ignore: &Ignore) -> Vec<String> {
    let mut found = Vec::new();
    if ignore.everything {
        return found;
    }
    let is_fault =
        |ending: &Ending| matches!(ending, Ending::Page { .. } | Ending::GeneralProtection);
    if ignore.x87_or_memory && is_fault(&host.ending) != is_fault(&guest.ending) {
        return found;
    }
    let is_same_fault = ignore.which_fault && is_fault(&host.ending) && is_fault(&guest.ending);
    if host.ending != guest.ending && !is_same_fault {
        found.push(format!("ending: host {:?}, guest {:?}", host.ending, guest.ending));
    }
    let mut differ = |name: &str, host: u128, guest: u128| {
        if host != guest {
            found.push(format!("{name}: host {host:#x}, guest {guest:#x}"));
        }
    };
    let (h, g) = (&host.after, &guest.after);
    differ("rip", h.rip.into(), g.rip.into());
    for ((name, a), (b, number)) in GPR_NAMES.iter().zip(h.gpr).zip(g.gpr.into_iter().zip(0..)) {
        let mask = gpr_mask(ignore, number);
        differ(name, (a & mask).into(), (b & mask).into());
    }
    let flags = (ARITHMETIC | DF) & !ignore.leaves.rflags;
    differ("rflags", (h.rflags & flags).into(), (g.rflags & flags).into());
    for (i, (a, b)) in h.xmm.iter().zip(g.xmm).enumerate() {
        differ(&format!("xmm{i}"), *a, b);
    }
    differ("mxcsr", h.mxcsr.into(), g.mxcsr.into());
    compare_x87(h, g, ignore.leaves, &mut differ);
    compare_memory(host, guest, ignore, &mut found);
    found
}

fn gpr_mask(ignore: &Ignore, number: usize) -> u64 {
    if ignore.upper_halves && matches!(number, 1 | 6 | 7) {
        return 0xffff_ffff;
    }
    match ignore.register {
        Some(register) if register.full_register().number() == number => match register.size() {
            1 => !0xff,
            2 => !0xffff,
            _ => 0,
        },
        _ => u64::MAX,
    }
}

fn compare_x87(
    h: &Registers,
    g: &Registers,
    leaves: Leaves,
    differ: &mut impl FnMut(&str, u128, u128),
) {
    differ("fcw", h.x87_control.into(), g.x87_control.into());
    let kept = !leaves.x87_status;
    differ("fsw", (h.x87_status & kept).into(), (g.x87_status & kept).into());
    let tags = abridged_tags(h.x87_tag);
    differ("ftw", tags.into(), abridged_tags(g.x87_tag).into());
    for (i, (a, b)) in h.x87.iter().zip(g.x87).enumerate() {
        differ(&format!("r{i} of x87"), *a, b);
    }
}

fn compare_memory(host: &Outcome, guest: &Outcome, ignore: &Ignore, found: &mut Vec<String>) {
    if host.memory == guest.memory {
        return;
    }
    for (at, (a, b)) in host.memory.iter().zip(guest.memory.iter()).enumerate() {
        let ignored = ignore.bytes.iter().any(|(first, count)| at.wrapping_sub(*first) < *count);
        if a != b && !ignored {
            found.push(format!("[{:x}]: host {a:02x}, guest {b:02x}", WINDOW + at as u64));
        }
    }
}

/// Returns whether an instruction uses the x87 unit.
pub(crate) fn is_x87(instruction: &Instruction) -> bool {
    let name = format!("{:?}", instruction.mnemonic());
    name.starts_with('F') || name == "Emms"
}
