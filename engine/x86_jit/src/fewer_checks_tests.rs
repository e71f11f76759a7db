//! Checks that are left out or go before another instruction, and targets that share a place in the
//! table, against the interpreter.

use guest_memory::{Accessor, ByteState, GuestAddr, Perms};
use iced_x86::code_asm::{
    CodeAssembler, ah, al, byte_ptr, dword_ptr, eax, ecx, edx, qword_ptr, r8, r8d, r9, r10, r11,
    rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp, xmm0, xmmword_ptr,
};
use x86_interp::Exit;

use super::tests::{CODE, DATA, DATA_BYTES, Machine, STACK, STACK_BYTES, TRAP, alone, both_with};

/// As far from the code as the table of targets reaches.
const FAR: u64 = CODE + 0x1_0000;

/// Flags that are dead where these programs stop.
const STATUS: u64 = 0x8d5;

fn ends(program: impl Fn(&mut CodeAssembler)) -> Machine {
    let (exit, machine) = both_with(program, |_| {}, 0);
    assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
    machine
}

#[test]
fn what_is_looked_at_together_stops_at_its_own_instruction() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler, at: u64| {
        a.mov(rbx, at - 8).unwrap();
        a.mov(ecx, 2).unwrap();
        a.mov(rax, qword_ptr(rbx + rcx * 4)).unwrap();
        a.mov(rdx, qword_ptr(rbx + rcx * 4 + 16)).unwrap();
        a.movups(xmm0, xmmword_ptr(rbx + rcx * 4 + 24)).unwrap();
        a.add(rdx, qword_ptr(rbx + rcx * 4 + 8)).unwrap();
        a.movzx(r8d, byte_ptr(rbx + rcx * 4 + 40)).unwrap();
        a.mov(r9, qword_ptr(rbx + rcx * 4 + 41)).unwrap();
        a.mov(r10, qword_ptr(rbx + rcx * 4 + 49)).unwrap();
        a.mov(qword_ptr(rbx + rcx * 4 + 57), rdx).unwrap();
        a.mov(dword_ptr(rsp - 0x10), edx).unwrap();
        a.ret().unwrap();
    };
    for byte in (0..80).step_by(3) {
        for state in [ByteState::FREED, ByteState::UNDEFINED] {
            let at = DATA + 0xfe0;
            let object = |machine: &mut Machine| {
                machine.m.set_state(GuestAddr(at + byte), 1, state, None);
            };
            both_with(|a| program(a, at), object, STATUS);
        }
    }
    // The page behind is missing.
    let (exit, _) = both_with(|a| program(a, DATA + DATA_BYTES - 0x20), |_| {}, STATUS);
    assert!(!matches!(exit, Exit::Trap(_)), "{exit:?}");
}

#[test]
fn what_was_checked_is_checked_again_where_it_may_have_changed() {
    let _alone = alone();
    // An address below the stack pointer: the frame that comes to lie there is undefined.
    let machine = ends(|a| {
        a.lea(rbx, qword_ptr(rsp - 0x28)).unwrap();
        a.mov(qword_ptr(rbx + 8), 5).unwrap();
        a.mov(rax, qword_ptr(rbx + 8)).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.mov(rdx, qword_ptr(rbx + 8)).unwrap();
        a.add(rsp, 0x28).unwrap();
        a.mov(r8, qword_ptr(rbx + 8)).unwrap();
        a.ret().unwrap();
    });
    assert!(machine.r.undefined.is_some(), "undefined bytes were loaded");
    drop(machine);
    // Registers that change, wholly or in part, and an index.
    ends(|a| {
        a.mov(rbx, DATA).unwrap();
        a.mov(ecx, 4).unwrap();
        a.mov(qword_ptr(rbx + rcx * 8), 7).unwrap();
        a.mov(rax, qword_ptr(rbx + rcx * 8)).unwrap();
        a.inc(rcx).unwrap();
        a.add(rax, qword_ptr(rbx + rcx * 8)).unwrap();
        a.mov(rbx, STACK).unwrap();
        a.mov(rdx, qword_ptr(rbx + rcx * 8)).unwrap();
        a.ret().unwrap();
    });
    // Targets that were looked at before, by registers that the call borrows.
    let machine = ends(|a| {
        let (mut first, mut second) = (a.create_label(), a.create_label());
        a.mov(rcx, DATA).unwrap();
        a.mov(r11, rcx).unwrap();
        a.lea(rax, qword_ptr(first)).unwrap();
        a.mov(qword_ptr(rcx + 8), rax).unwrap();
        a.lea(rax, qword_ptr(second)).unwrap();
        a.mov(qword_ptr(rcx + 16), rax).unwrap();
        a.sub(dword_ptr(rcx), 1).unwrap();
        a.call(qword_ptr(rcx + 8)).unwrap();
        a.sub(dword_ptr(r11), 1).unwrap();
        a.call(qword_ptr(r11 + 16)).unwrap();
        a.ret().unwrap();
        a.set_label(&mut first).unwrap();
        a.inc(rdx).unwrap();
        a.ret().unwrap();
        a.set_label(&mut second).unwrap();
        a.inc(rdx).unwrap();
        a.ret().unwrap();
    });
    machine.counts();
    drop(machine);
    // A register that is borrowed meanwhile.
    let machine = ends(|a| {
        let mut word = a.create_label();
        a.mov(rdx, DATA).unwrap();
        a.mov(ecx, dword_ptr(rdx)).unwrap();
        a.cmp(ah, byte_ptr(word)).unwrap();
        a.adc(dword_ptr(rdx), ecx).unwrap();
        a.set_label(&mut word).unwrap();
        a.ret().unwrap();
    });
    assert!(machine.counts().steps < 4, "{:?}", machine.counts());
    drop(machine);
    // Pages that may not be touched behind ones that may.
    let (exit, _) = both_with(
        |a| {
            a.mov(rbx, DATA + DATA_BYTES - 8).unwrap();
            a.mov(rax, qword_ptr(rbx)).unwrap();
            a.movups(xmm0, xmmword_ptr(rbx - 8)).unwrap();
            a.mov(dword_ptr(rbx + 4), eax).unwrap();
            a.mov(byte_ptr(rbx + 8), al).unwrap();
        },
        |_| {},
        0x8d5,
    );
    assert!(matches!(exit, Exit::Fault(_)), "{exit:?}");
}

#[test]
fn frames_are_taken_down_with_few_checks() {
    let _alone = alone();
    let machine = ends(|a| {
        let (mut f, mut top) = (a.create_label(), a.create_label());
        a.mov(ecx, 200).unwrap();
        a.set_label(&mut top).unwrap();
        a.call(f).unwrap();
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        for register in [rbx, rbp, rdi, rsi] {
            a.push(register).unwrap();
        }
        a.sub(rsp, 0x28).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rcx).unwrap();
        a.mov(rbx, qword_ptr(rsp + 0x20)).unwrap();
        a.add(rsp, 0x28).unwrap();
        for register in [rsi, rdi, rbp, rbx] {
            a.pop(register).unwrap();
        }
        a.ret().unwrap();
    });
    assert!(machine.counts().steps < 20, "{:?}", machine.counts());
}

#[test]
fn a_check_that_goes_before_finds_the_fault_in_its_place() {
    let _alone = alone();
    // The second pop is beyond the stack; the first and the flags of the addition are done.
    let (exit, machine) = both_with(
        |a| {
            a.mov(rax, STACK + STACK_BYTES - 0x30).unwrap();
            a.mov(qword_ptr(rax + 0x28), 9).unwrap();
            a.lea(rdx, qword_ptr(rsp)).unwrap();
            a.add(rsp, 0x100).unwrap();
            a.pop(rbx).unwrap();
            a.pop(rbp).unwrap();
            a.ret().unwrap();
        },
        |_| {},
        0,
    );
    assert!(matches!(exit, Exit::Fault(_)), "{exit:?}");
    assert_eq!(machine.r.gpr[3], 9);
    drop(machine);
    // The second push is below it.
    let (exit, machine) = both_with(
        |a| {
            a.mov(rsp, STACK + 8).unwrap();
            a.push(rbx).unwrap();
            a.push(rbp).unwrap();
            a.xor(eax, eax).unwrap();
        },
        |_| {},
        0x8d5,
    );
    assert!(matches!(exit, Exit::Fault(_)), "{exit:?}");
    assert_eq!(machine.r.gpr[4], STACK);
    drop(machine);
    // Pops of undefined bytes between others, and what pushes find: rsp where the guest has it.
    ends(|a| {
        a.push(rsp).unwrap();
        a.push(rbx).unwrap();
        a.push(rsp).unwrap();
        a.lea(rsp, qword_ptr(rsp - 8)).unwrap();
        a.pop(rdx).unwrap();
        a.pop(rbp).unwrap();
        a.pop(rsi).unwrap();
        a.pop(rdi).unwrap();
        a.sub(rdi, rbp).unwrap();
        a.ret().unwrap();
    });
    // A load whose address changes between the two, and one that the flags outlive.
    ends(|a| {
        a.mov(rbx, DATA).unwrap();
        a.mov(qword_ptr(rbx), rbx).unwrap();
        a.mov(qword_ptr(rbx + 0x10), 3).unwrap();
        a.cmp(rbx, 1).unwrap();
        a.mov(rsi, qword_ptr(rbx)).unwrap();
        a.mov(rdi, qword_ptr(rsi + 0x10)).unwrap();
        a.setb(al).unwrap();
        a.adc(rdi, 0).unwrap();
        a.ret().unwrap();
    });
}

#[test]
fn targets_that_share_a_place_in_the_table() {
    let _alone = alone();
    // Two functions 64 KiB apart, one of which reads the flags that it is called with.
    let program = |a: &mut CodeAssembler| {
        let (mut top, mut near) = (a.create_label(), a.create_label());
        a.lea(r9, qword_ptr(near)).unwrap();
        a.mov(r10, FAR - CODE).unwrap();
        a.add(r10, r9).unwrap();
        a.xor(eax, eax).unwrap();
        a.mov(edx, 50).unwrap();
        a.set_label(&mut top).unwrap();
        for target in [r9, r10, r10, r9] {
            a.stc().unwrap();
            a.call(target).unwrap();
        }
        a.dec(edx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
        a.set_label(&mut near).unwrap();
        a.adc(rax, 2).unwrap();
        a.ret().unwrap();
    };
    let far = |machine: &mut Machine| {
        let all = Perms::READ | Perms::EXECUTE;
        machine.m.map(GuestAddr(FAR), 0x1000, all, ByteState::DEFINED, 0xcc).unwrap();
        // `test eax, eax; lea rax, [rax + 5]; ret` wherever the other is.
        let code = [0x85, 0xc0, 0x48, 0x8d, 0x40, 5, 0xc3];
        let mut page = vec![0x90; 0x100];
        page.extend(code);
        machine.m.write(Accessor::Machine, GuestAddr(FAR), &page).unwrap();
    };
    let (exit, machine) = both_with(program, far, 0);
    assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
    assert_eq!(machine.r.gpr[0], 50 * 2 * (3 + 5));
}
