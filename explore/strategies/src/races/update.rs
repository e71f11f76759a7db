//! Whether an instruction is the write of an update: it writes what was computed from an earlier
//! read of the same memory.

use cpu::{is_plain_update, is_update};
use guest_memory::GuestAddr;
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};
use rulebook::race::lost_update::Update;

use crate::Target;

/// Instructions between the read and the write that are looked at.
const MOST_STEPS: usize = 32;

/// Routines begin at multiples of this; those that call nothing need not be in the table of
/// functions.
const ALIGNMENT_BYTES: u32 = 16;
/// How far before the write a routine is looked for that is not in the table.
const LONGEST_LEAF_BYTES: u32 = 128;

/// The update that writes at this instruction.
pub(super) fn of(target: &Target, image_base: u64, write: GuestAddr) -> Option<Update> {
    let rva = u32::try_from(write.0.checked_sub(image_base)?).ok()?;
    if let Some(function) = target.image.functions().lookup(rva) {
        return between(target, image_base, (function.begin_rva, rva));
    }
    // Nothing that is not both read and written by these instructions in a run counts, so that a
    // wrong guess finds nothing.
    let nearest = rva - rva % ALIGNMENT_BYTES;
    let starts = (0..=LONGEST_LEAF_BYTES / ALIGNMENT_BYTES)
        .filter_map(|step| nearest.checked_sub(step * ALIGNMENT_BYTES));
    starts
        .take_while(|&start| target.image.functions().lookup(start).is_none())
        .find_map(|start| between(target, image_base, (start, rva)))
}

/// The update that ends at `write_rva` in straight code that begins here.
fn between(target: &Target, image_base: u64, (begin_rva, write_rva): (u32, u32)) -> Option<Update> {
    let write = image_base + u64::from(write_rva);
    let length = usize::try_from(write_rva.checked_sub(begin_rva)?).ok()?.checked_add(15)?;
    if length > 1 << 16 {
        return None;
    }
    let mut bytes = vec![0; length];
    let mapped = target.image.mapped();
    if !mapped.read(begin_rva, &mut bytes) {
        return None;
    }
    let start = image_base + u64::from(begin_rva);
    let decoder = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE);
    let list: Vec<Instruction> = decoder.into_iter().take_while(|i| i.ip() <= write).collect();
    update_at_end(&list).filter(|update| update.write == write)
}

/// Instructions behind a load that are looked at.
const MOST_USES: usize = 16;

/// Whether the instruction loads 8 bytes and straight code behind it computes with them as one
/// number. Code that copies two neighbours by one load does not.
pub(super) fn is_computed_with(target: &Target, image_base: u64, load: GuestAddr) -> bool {
    let mut bytes = [0; 15 * MOST_USES];
    let rva = load.0.checked_sub(image_base).and_then(|rva| u32::try_from(rva).ok());
    let mapped = target.image.mapped();
    if !rva.is_some_and(|rva| mapped.read(rva, &mut bytes)) {
        return false;
    }
    let decoder = Decoder::with_ip(64, &bytes, load.0, DecoderOptions::NONE);
    let list: Vec<Instruction> = decoder.into_iter().take(MOST_USES).collect();
    is_number(&list)
}

fn is_number(list: &[Instruction]) -> bool {
    let computes = |ins: &Instruction| {
        matches!(
            ins.mnemonic(),
            Mnemonic::Add
                | Mnemonic::Sub
                | Mnemonic::Imul
                | Mnemonic::Mul
                | Mnemonic::Div
                | Mnemonic::Idiv
        )
    };
    let Some((load, behind)) = list.split_first() else { return false };
    let is_of_memory = load.op1_kind() == OpKind::Memory && load.op0_kind() == OpKind::Register;
    if !is_of_memory || load.op0_register().size() != 8 {
        return false;
    }
    if load.mnemonic() != Mnemonic::Mov {
        return computes(load);
    }
    let mut wanted = load.op0_register();
    let mut factory = InstructionInfoFactory::new();
    for ins in behind {
        if ins.flow_control() != FlowControl::Next {
            return false;
        }
        let is_used = (0..ins.op_count()).any(|index| {
            ins.op_kind(index) == OpKind::Register && ins.op_register(index) == wanted
        });
        if is_used && computes(ins) {
            return true;
        }
        let is_copy = ins.mnemonic() == Mnemonic::Mov && ins.op1_kind() == OpKind::Register;
        if is_used && is_copy && ins.op1_register() == wanted && ins.op0_kind() == OpKind::Register
        {
            wanted = ins.op0_register();
            continue;
        }
        let is_lost = factory.info(ins).used_registers().iter().any(|used| {
            used.register().full_register() == wanted
                && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None)
        });
        if is_lost {
            return false;
        }
    }
    false
}

/// The update that the last of these instructions writes.
fn update_at_end(list: &[Instruction]) -> Option<Update> {
    let (last, before) = list.split_last()?;
    let write = last.ip();
    if is_plain_update(last) {
        return Some(Update { read: write, write });
    }
    if last.mnemonic() != Mnemonic::Mov || last.op0_kind() != OpKind::Memory {
        return None;
    }
    let mut wanted = last.op1_register().full_register();
    if wanted == Register::None {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    for ins in before.iter().rev().take(MOST_STEPS) {
        if ins.flow_control() != FlowControl::Next {
            return None;
        }
        let writes = factory.info(ins).used_registers().iter().any(|used| {
            used.register().full_register() == wanted
                && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None)
        });
        if !writes {
            continue;
        }
        let is_load = matches!(
            ins.mnemonic(),
            Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd
        );
        match (ins.op0_kind(), is_load) {
            (OpKind::Register, true) if ins.op1_kind() == OpKind::Memory => {
                return is_same_memory(ins, last).then(|| Update { read: ins.ip(), write });
            }
            (OpKind::Register, true) if ins.op1_kind() == OpKind::Register => {
                wanted = ins.op1_register().full_register();
            }
            (OpKind::Register, false) if ins.mnemonic() == Mnemonic::Lea => {
                wanted = ins.memory_base().full_register();
            }
            (OpKind::Register, false) if is_update(ins) => {
                // `add eax, [memory]`: the read may be the other operand.
                if ins.op1_kind() == OpKind::Memory && is_same_memory(ins, last) {
                    return Some(Update { read: ins.ip(), write });
                }
            }
            _ => return None,
        }
    }
    None
}

fn is_same_memory(a: &Instruction, b: &Instruction) -> bool {
    let place = |ins: &Instruction| {
        (
            ins.memory_base(),
            ins.memory_index(),
            ins.memory_index_scale(),
            ins.memory_displacement64(),
            ins.segment_prefix(),
        )
    };
    place(a) == place(b)
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Instruction};

    use super::{is_number, update_at_end};

    fn decoded(bytes: &[u8]) -> Vec<Instruction> {
        Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).into_iter().collect()
    }

    fn read_and_write(bytes: &[u8]) -> Option<(u64, u64)> {
        update_at_end(&decoded(bytes)).map(|update| (update.read, update.write))
    }

    #[test]
    fn one_instruction_reads_and_writes() {
        // inc dword ptr [rcx]
        assert_eq!(read_and_write(&[0xff, 0x01]), Some((0x1000, 0x1000)));
        // lock inc dword ptr [rcx]
        assert_eq!(read_and_write(&[0xf0, 0xff, 0x01]), None);
        // mov dword ptr [rcx], eax
        assert_eq!(read_and_write(&[0x89, 0x01]), None);
    }

    #[test]
    fn a_write_of_what_was_computed_from_a_read() {
        // mov eax, [rcx]; add eax, 1; mov [rcx], eax
        let update = [0x8b, 0x01, 0x83, 0xc0, 0x01, 0x89, 0x01];
        assert_eq!(read_and_write(&update), Some((0x1000, 0x1005)));
        // The same with another place read.
        let other = [0x8b, 0x02, 0x83, 0xc0, 0x01, 0x89, 0x01];
        assert_eq!(read_and_write(&other), None);
        // mov eax, [rcx]; mov eax, 1; mov [rcx], eax
        let constant = [0x8b, 0x01, 0xb8, 1, 0, 0, 0, 0x89, 0x01];
        assert_eq!(read_and_write(&constant), None);
    }
    #[test]
    fn eight_bytes_that_are_one_number() {
        // mov rax, [rcx]; add rax, 1
        assert!(is_number(&decoded(&[0x48, 0x8b, 0x01, 0x48, 0x83, 0xc0, 0x01])));
        // sub rax, [rcx]
        assert!(is_number(&decoded(&[0x48, 0x2b, 0x01])));
        // mov rax, [rcx]; mov rdx, rax; imul rdx, rdx
        let copied = [0x48, 0x8b, 0x01, 0x48, 0x89, 0xc2, 0x48, 0x0f, 0xaf, 0xd2];
        assert!(is_number(&decoded(&copied)));
        // mov rax, [rcx]; mov [rdx], rax: a copy of whatever stands there.
        assert!(!is_number(&decoded(&[0x48, 0x8b, 0x01, 0x48, 0x89, 0x02])));
        // mov rax, [rcx]; shr rax, 0x20; add eax, 1: the upper neighbour.
        let upper = [0x48, 0x8b, 0x01, 0x48, 0xc1, 0xe8, 0x20, 0x83, 0xc0, 0x01];
        assert!(!is_number(&decoded(&upper)));
        // mov eax, [rcx]; add eax, 1
        assert!(!is_number(&decoded(&[0x8b, 0x01, 0x83, 0xc0, 0x01])));
    }
}
