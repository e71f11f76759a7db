//! Which status flags must be kept at a point, and which are going to be read.
//!
//! Two answers, because they are used for opposite decisions. *Kept* flags may not be changed by a
//! check: it errs towards all. *Read* flags decide whether an instruction that leaves flags
//! undefined must run in the interpreter, which fixes them: it takes the flags as dead at calls and
//! returns, as the calling convention has it.

use guest_memory::{GuestAddr, GuestMemory};
use iced_x86::{Decoder, DecoderOptions, Instruction, RflagsBits};

use crate::allow::{Class, classify};

/// The six status flags, as iced numbers them.
pub(crate) const STATUS: u32 = RflagsBits::OF
    | RflagsBits::SF
    | RflagsBits::ZF
    | RflagsBits::AF
    | RflagsBits::CF
    | RflagsBits::PF;

/// Flags at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) kept: u32,
    pub(crate) read: u32,
}

/// Nothing is known about what follows. Nobody tests AF but `lahf` and `pushf`.
pub(crate) const UNKNOWN: Live = Live { kept: STATUS, read: STATUS & !RflagsBits::AF };
/// A call or return follows.
pub(crate) const AT_CALL: Live = Live { kept: STATUS, read: 0 };
/// The interpreter goes on here, and anybody may look.
pub(crate) const AT_EXIT: Live = Live { kept: STATUS, read: STATUS };

impl Live {
    /// What is live before an instruction if this is live after it.
    pub(crate) fn before(self, ins: &Instruction) -> Self {
        let (set, reads) = (x86_interp::always_sets_flags(ins), ins.rflags_read() & STATUS);
        Self { kept: self.kept & !set | reads, read: self.read & !set | reads }
    }

    /// What is live where the code goes on in one of two ways.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { kept: self.kept | other.kept, read: self.read | other.read }
    }
}

/// Instructions looked at beyond the end of a block.
const LOOK_AHEAD: u32 = 24;
/// Branches followed.
const DEPTH: u32 = 3;

/// What is live at a guest address, with the pages that the answer rests on.
pub(crate) fn live_at(m: &mut GuestMemory, at: u64, pages: &mut Vec<u64>) -> Live {
    let mut left = LOOK_AHEAD;
    look(m, at, pages, &mut left, DEPTH)
}

fn look(m: &mut GuestMemory, at: u64, pages: &mut Vec<u64>, left: &mut u32, depth: u32) -> Live {
    let mut instructions = Vec::new();
    let mut at = at;
    let mut live = loop {
        let Some(next) = left.checked_sub(1) else { break UNKNOWN };
        *left = next;
        let Some(ins) = fetch(m, at, pages) else { break AT_EXIT };
        let sets = instructions.iter().fold(0, |set, ins| set | x86_interp::always_sets_flags(ins));
        if sets & STATUS == STATUS {
            break UNKNOWN;
        }
        match classify(&ins) {
            Class::Call | Class::CallIndirect | Class::Return(_) | Class::JumpIndirect => {
                break AT_CALL;
            }
            Class::Step => break AT_EXIT,
            Class::Jump => at = ins.near_branch_target(),
            Class::Conditional if depth > 0 => {
                let taken = look(m, ins.near_branch_target(), pages, left, depth - 1);
                let fall = look(m, ins.next_ip(), pages, left, depth - 1);
                break taken.or(fall).before(&ins);
            }
            Class::Conditional => break UNKNOWN.before(&ins),
            _ => {
                instructions.push(ins);
                at = ins.next_ip();
            }
        }
    };
    for ins in instructions.iter().rev() {
        live = live.before(ins);
    }
    live
}

/// Fetches an instruction of the kernel half; `None` if it cannot be.
pub(crate) fn fetch(m: &mut GuestMemory, at: u64, pages: &mut Vec<u64>) -> Option<Instruction> {
    if !GuestAddr(at).is_kernel_half() {
        return None;
    }
    let mut bytes = [0; 15];
    let len = m.fetch(false, GuestAddr(at), &mut bytes).ok()?;
    let mut decoder = Decoder::with_ip(64, bytes.get(..len)?, at, DecoderOptions::NONE);
    let ins = decoder.decode();
    if ins.is_invalid() || !x86_interp::is_modelled_as(&ins, bytes.get(..ins.len())?) {
        return None;
    }
    for page in [at & !0xfff, ins.next_ip().wrapping_sub(1) & !0xfff] {
        if !pages.contains(&page) {
            pages.push(page);
        }
    }
    Some(ins)
}

#[cfg(test)]
mod tests {
    use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};
    use iced_x86::RflagsBits;

    use super::{STATUS, live_at};

    const CODE: u64 = 0xffff_f800_0000_0000;

    fn live(code: &[u8]) -> (u32, u32) {
        let mut m = GuestMemory::new(Limits { frames: 4, blocks: 1, spaces: 1 });
        let all = Perms::READ | Perms::EXECUTE;
        m.map(GuestAddr(CODE), 0x1000, all, ByteState::DEFINED, 0xcc).unwrap();
        m.write(Accessor::Machine, GuestAddr(CODE), code).unwrap();
        let live = live_at(&mut m, CODE, &mut Vec::new());
        (live.kept, live.read)
    }

    #[test]
    fn flags_live_until_they_are_written() {
        // test eax, eax
        assert_eq!(live(&[0x85, 0xc0]), (0, 0));
        // adc eax, eax
        assert_eq!(live(&[0x11, 0xc0, 0xc3]), (RflagsBits::CF, RflagsBits::CF));
        // ret
        assert_eq!(live(&[0xc3]), (STATUS, 0));
        // inc eax; ret: the carry stays
        assert_eq!(live(&[0xff, 0xc0, 0xc3]), (RflagsBits::CF, 0));
        // shl eax, cl; test eax, eax: a count of zero keeps them, but they are written next
        assert_eq!(live(&[0xd3, 0xe0, 0x85, 0xc0]), (0, 0));
        // cpuid leaves to the owner
        assert_eq!(live(&[0x0f, 0xa2]), (STATUS, STATUS));
        // mov eax, ecx; jmp +0; cmp eax, 1
        assert_eq!(live(&[0x89, 0xc8, 0xeb, 0, 0x83, 0xf8, 1]), (0, 0));
        // jb: both ways go on with test
        let branch = [0x72, 2, 0x85, 0xc0, 0x85, 0xc0];
        assert_eq!(live(&branch), (RflagsBits::CF, RflagsBits::CF));
    }
}
