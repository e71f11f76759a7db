//! The translator against the interpreter where addresses come round.

use guest_memory::{Accessor, ByteState, GuestAddr, Perms};
use iced_x86::code_asm::CodeAssembler;
use x86_interp::Engine;

use super::{
    Translator,
    tests::{Machine, TRAP, Tier, alone},
};

/// The last page of the address space.
const LAST: u64 = 0xffff_ffff_ffff_f000;

/// Runs code at the end of the last page, and compares what came of it.
fn check(code: &[u8]) {
    let tiers = [
        Tier::Interpreter(Box::new(Engine::new(TRAP..TRAP + 0x1000))),
        Tier::Translator(Box::new(Translator::new(TRAP..TRAP + 0x1000).unwrap())),
    ];
    let of_tier = |tier: Tier| {
        let nothing = |_: &mut CodeAssembler| {};
        let mut machine = Machine::new(tier, &nothing);
        let all = Perms::READ | Perms::WRITE | Perms::EXECUTE;
        machine.m.map(GuestAddr(LAST), 0x1000, all, ByteState::DEFINED, 0x90).unwrap();
        let at = LAST + (0x1000 - code.len() as u64);
        machine.m.write(Accessor::Machine, GuestAddr(at), code).unwrap();
        machine.r.rip = at;
        machine.r.gpr[3] = LAST + 0xffc;
        let exit = machine.run();
        machine.counts();
        (exit, machine.r.clone(), machine.clock)
    };
    let [expected, translated] = tiers.map(of_tier);
    assert_eq!(expected.0, translated.0, "{code:x?}");
    assert_eq!(expected.1, translated.1, "{code:x?}");
    assert_eq!(expected.2, translated.2, "{code:x?}");
}

#[test]
fn code_at_the_end_of_the_address_space_goes_on_at_0() {
    let _alone = alone();
    let rows: &[&[u8]] = &[
        // Falls off.
        &[0x90],
        &[0xff, 0xc0],
        // jmp 0, directly, past it, and on a condition
        &[0xeb, 0],
        &[0xe9, 0, 0, 0, 0],
        &[0xeb, 0x10],
        &[0x85, 0xc0, 0x74, 0],
        &[0x85, 0xc0, 0x75, 0],
        // call 0
        &[0xe8, 0, 0, 0, 0],
        // xor eax, eax; jmp rax
        &[0x31, 0xc0, 0xff, 0xe0],
        &[0x31, 0xc0, 0xff, 0xd0],
        // push 0; ret
        &[0x6a, 0, 0xc3],
        // The instruction ends beyond.
        &[0xe9, 0, 0],
        &[0xb8, 1],
        // mov rax, [rbx]: 4 of the bytes are beyond.
        &[0x48, 0x8b, 0x03],
        &[0x48, 0x89, 0x03],
        // rep stosb from there
        &[0x48, 0x89, 0xdf, 0xb9, 0x10, 0, 0, 0, 0xf3, 0xaa],
    ];
    for code in rows {
        check(code);
    }
}
