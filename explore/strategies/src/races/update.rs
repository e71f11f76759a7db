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

/// The update that writes at this instruction.
pub(super) fn of(target: &Target, image_base: u64, write: GuestAddr) -> Option<Update> {
    let rva = u32::try_from(write.0.checked_sub(image_base)?).ok()?;
    let function = target.image.functions().lookup(rva)?;
    let length = usize::try_from(rva.checked_sub(function.begin_rva)?).ok()?.checked_add(15)?;
    if length > 1 << 16 {
        return None;
    }
    let mut bytes = vec![0; length];
    let mapped = target.image.mapped();
    if !mapped.read(function.begin_rva, &mut bytes) {
        return None;
    }
    let start = image_base + u64::from(function.begin_rva);
    let decoder = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE);
    let list: Vec<Instruction> = decoder.into_iter().take_while(|i| i.ip() <= write.0).collect();
    update_at_end(&list).filter(|update| update.write == write.0)
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

    use super::update_at_end;

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
}
