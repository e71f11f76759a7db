//! Instructions and fields that no block may use so.

use iced_x86::code_asm::{
    dword_ptr, eax, esp, gs, mm0, mm1, mm2, mm3, ptr, qword_ptr, r11, rax, rbx, rdx, rsp, spl,
    word_ptr,
};

use super::{AT, Bad, CONTEXT, PLACES, check_rejected, frame, look};

#[test]
fn only_the_list_is_copied() {
    check_rejected(INSTRUCTIONS);
}

#[test]
fn fields_are_used_as_the_list_of_them_says() {
    check_rejected(FIELDS);
}

const INSTRUCTIONS: &[Bad] = &[
    ("an instruction that must not be copied", |a, _| a.wrgsbase(rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.wrfsbase(rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.mov(gs, eax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.cpuid().unwrap()),
    ("an instruction that must not be copied", |a, _| a.rdtsc().unwrap()),
    ("an instruction that must not be copied", |a, _| a.cld().unwrap()),
    ("an instruction that must not be copied", |a, _| a.mov(rsp, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.add(rsp, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.lea(rsp, ptr(rax + 8)).unwrap()),
    ("an instruction that must not be copied", |a, _| a.sub(rsp, 0x28).unwrap()),
    ("an instruction that must not be copied", |a, cold| {
        frame(a, cold);
        a.sub(rsp, 0x208).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.ldmxcsr(dword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, _| a.psubq(mm0, mm2).unwrap()),
    ("an instruction that must not be copied", |a, _| a.psubq(mm1, mm1).unwrap()),
    ("an instruction that must not be copied", |a, _| a.movq(mm0, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.movq(rax, mm2).unwrap()),
    ("an instruction that must not be copied", |a, _| a.emms().unwrap()),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.movq(mm3, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.psubq(mm0, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.movq(qword_ptr(rbx + 16).gs(), mm0).unwrap();
    }),
    ("memory is used without being an operand", |a, _| a.push(rax).unwrap()),
    ("memory is used without being an operand", |a, _| a.pop(rax).unwrap()),
    ("memory is used without being an operand", |a, _| a.pushfq().unwrap()),
    ("memory is used without being an operand", |a, _| a.leave().unwrap()),
    ("memory is used without being an operand", |a, cold| {
        look(a, cold);
        a.push(qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("memory is used without being an operand", |a, _| a.movsb().unwrap()),
    ("memory is used without being an operand", |a, _| a.rep().movsq().unwrap()),
    ("an operand that cannot be redirected", |a, _| a.rep().stosq().unwrap()),
    ("an operand that cannot be redirected", |a, _| a.stosb().unwrap()),
    ("a host address in a register", |a, _| a.lea(rax, ptr(CONTEXT)).unwrap()),
    // rdgsbase rax
    ("an instruction that must not be copied", |a, _| {
        a.db(&[0xf3, 0x48, 0x0f, 0xae, 0xc8]).unwrap()
    }),
    // mov fs, eax
    ("an instruction that must not be copied", |a, _| a.db(&[0x8e, 0xe0]).unwrap()),
    // lldt ax
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x00, 0xd0]).unwrap()),
    // swapgs
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x01, 0xf8]).unwrap()),
    // mov cr3, rax
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x22, 0xd8]).unwrap()),
    // std
    ("an instruction that must not be copied", |a, _| a.db(&[0xfd]).unwrap()),
    // cli
    ("an instruction that must not be copied", |a, _| a.db(&[0xfa]).unwrap()),
    // stac
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x01, 0xcb]).unwrap()),
    // emms
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x77]).unwrap()),
    // fninit
    ("an instruction that must not be copied", |a, _| a.db(&[0xdb, 0xe3]).unwrap()),
    // fld1
    ("an instruction that must not be copied", |a, _| a.db(&[0xd9, 0xe8]).unwrap()),
    // movdq2q mm0, xmm0
    ("an instruction that must not be copied", |a, _| a.db(&[0xf2, 0x0f, 0xd6, 0xc0]).unwrap()),
    // movq2dq xmm0, mm0
    ("an instruction that must not be copied", |a, _| a.db(&[0xf3, 0x0f, 0xd6, 0xc0]).unwrap()),
    // movq mm1, mm0
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x7f, 0xc1]).unwrap()),
    // movq mm2, mm0
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x6f, 0xd0]).unwrap()),
    // psubq mm1, mm2
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0xfb, 0xca]).unwrap()),
    // pxor mm1, mm1
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0xef, 0xc9]).unwrap()),
    // vzeroupper
    ("an instruction that must not be copied", |a, _| a.db(&[0xc5, 0xf8, 0x77]).unwrap()),
    // vmovaps xmm0, xmm1
    ("an instruction that must not be copied", |a, _| a.db(&[0xc5, 0xf8, 0x28, 0xc1]).unwrap()),
    // xgetbv
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0x01, 0xd0]).unwrap()),
    // rdrand eax
    ("an instruction that must not be copied", |a, _| a.db(&[0x0f, 0xc7, 0xf0]).unwrap()),
    // bswap ax, which processors do not agree about
    ("an instruction that must not be copied", |a, _| a.db(&[0x66, 0x0f, 0xc8]).unwrap()),
    // popfq
    ("memory is used without being an operand", |a, _| a.db(&[0x9d]).unwrap()),
    // enter 0, 0
    ("memory is used without being an operand", |a, _| a.db(&[0xc8, 0, 0, 0]).unwrap()),
    // pop [rsp], whose address is that behind the pop
    ("memory is used without being an operand", |a, _| a.db(&[0x8f, 0x04, 0x24]).unwrap()),
    // the same with a base
    ("memory is used without being an operand", |a, _| a.db(&[0x65, 0x8f, 0x04, 0x24]).unwrap()),
    // push gs:[rbx]
    ("memory is used without being an operand", |a, _| a.db(&[0x65, 0xff, 0x33]).unwrap()),
    // maskmovdqu xmm0, xmm1
    ("an operand that cannot be redirected", |a, _| a.db(&[0x66, 0x0f, 0xf7, 0xc1]).unwrap()),
    // xlatb
    ("an address that cannot be followed", |a, _| a.db(&[0x65, 0xd7]).unwrap()),
    // lodsb
    ("an operand that cannot be redirected", |a, _| a.db(&[0xac]).unwrap()),
    // cmpsd
    ("memory is used without being an operand", |a, _| a.db(&[0xa7]).unwrap()),
    // insb
    ("an operand that cannot be redirected", |a, _| a.db(&[0x6c]).unwrap()),
    // pause
    ("an instruction that must not be copied", |a, _| a.db(&[0xf3, 0x90]).unwrap()),
    ("an instruction that must not be copied", |a, cold| {
        // The address depends on all bits of the other register.
        look(a, cold);
        a.bts(qword_ptr(rbx + 16).gs(), rax).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.db(&[0x65, 0x0f, 0xa3, 0x43, 0x10]).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        // In the other order.
        look(a, cold);
        a.movbe(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.crc32(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.movnti(qword_ptr(rbx + 16).gs(), rax).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.cmpxchg8b(qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        // A segment register from memory.
        look(a, cold);
        a.db(&[0x65, 0x8e, 0x6b, 0x10]).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.fldcw(word_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        // With a prefix of repetition, which elides locks.
        look(a, cold);
        a.db(&[0xf3, 0x65, 0x48, 0x89, 0x43, 0x10]).unwrap();
    }),
    ("an instruction that must not be copied", |a, _| a.xchg(rsp, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.mov(esp, eax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.inc(spl).unwrap()),
    ("an instruction that must not be copied", |a, _| a.add(esp, 8).unwrap()),
    ("an instruction that must not be copied", |a, _| a.add(rsp, -8).unwrap()),
    ("an instruction that must not be copied", |a, _| a.and(rsp, -16).unwrap()),
    // lea rsp, [esp + 8]
    ("an instruction that must not be copied", |a, _| {
        a.db(&[0x67, 0x48, 0x8d, 0x64, 0x24, 8]).unwrap();
    }),
    // lea rax, [eip]: the lower half of a host address.
    ("a host address in a register", |a, _| {
        a.db(&[0x67, 0x48, 0x8d, 0x05, 0, 0, 0, 0]).unwrap();
    }),
    ("a host address in a register", |a, _| a.db(&[0x66, 0x8d, 0x05, 0, 0, 0, 0]).unwrap()),
];

const FIELDS: &[Bad] = &[
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.host_rsp()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.target()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.entry()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.stack_low()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.targets()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.service()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.memory()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.string_service()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(dword_ptr(PLACES.string()), iced_x86::code_asm::edx).unwrap()
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(rdx, qword_ptr(PLACES.return_to())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.own()), 1).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(rdx, qword_ptr(PLACES.own())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.cmp(qword_ptr(PLACES.target()), r11).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.movq(qword_ptr(PLACES.left()), mm1).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.movq(qword_ptr(PLACES.target()), mm0).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.movq(mm2, qword_ptr(PLACES.host_rsp())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.cmp(qword_ptr(PLACES.left()), 1).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.service()), rdx).unwrap();
    }),
    // The code itself.
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(AT), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(rsp, qword_ptr(PLACES.borrowed())).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(rdx, qword_ptr(PLACES.host_rsp())).unwrap()),
    ("a field that blocks do not use so", |a, _| a.sub(qword_ptr(PLACES.left()), 1).unwrap()),
    ("a field that blocks do not use so", |a, _| a.add(qword_ptr(PLACES.left()), 1).unwrap()),
];
