//! Short `rep movs` and `rep stos` without Rust, by the registers of AVX-512.
//!
//! All states are looked at before anything moves: every byte may be touched and is defined. Bytes
//! move in pieces of 64, not in the order of the instruction, so what is read must not be among
//! what is written, under whatever address. Distances within a page tell that, whichever frames the
//! pages mean. For the same reason a fault changes nothing that counts: the registers stay until
//! the end, and the instruction runs again from its beginning.

use guest_memory::KERNEL_HALF_START;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use crate::{
    allow::Strings,
    emit::{Emit, Label},
    windows::LAST_ENTERED,
};

/// Longest run that is moved here.
const MOST_BYTES: i32 = 4096;
/// Bytes of a piece.
const PIECE: i32 = 64;

/// Bytes to move; where the next piece begins, and the last one.
const LENGTH: Register = Register::R10;
const AT: Register = Register::R11;
const LAST: Register = Register::RCX;
const TO: Register = Register::RDI;
const FROM: Register = Register::RSI;
/// What is moved, and what is found in states.
const BYTES: Register = Register::ZMM17;
const FOUND: Register = Register::ZMM18;
const LAST_BYTES: Register = Register::ZMM19;
/// The bytes of a run that is shorter than a piece.
const SHORT: Register = Register::K4;

/// Carries out the instruction whose form is in the context, or goes to `slow` with rdi, rsi and
/// rsp as they were. rax, rcx, r10, r11 and the flags are put away; the length of the run is that
/// of rcx.
pub(crate) fn moves(e: &mut Emit, state_adjust: i64, slow: Label) {
    let (stores, done) = (e.label(), e.label());
    length(e, slow);
    e.branch(Code::Je_rel32_64, done);
    is_inside(e, TO, slow);
    e.store_imm(Code::Test_rm32_imm32, e.places.string(), i32::from(Strings::STORE));
    e.branch(Code::Jne_rel32_64, stores);
    is_inside(e, FROM, slow);
    is_apart(e, slow);
    let copy = Run { state_adjust, is_store: false };
    copy.emit(e, slow);
    add(e, FROM, LENGTH);
    e.branch(Code::Jmp_rel32_64, done);
    e.place(stores);
    broadcast(e);
    Run { is_store: true, ..copy }.emit(e, slow);
    e.place(done);
    add(e, TO, LENGTH);
    e.store(Code::Add_rm64_r64, e.places.moved_bytes(), LENGTH);
    e.store_imm(Code::Mov_rm64_imm32, e.places.borrowed_rcx(), 0);
}

/// The length of a repeated instruction in bytes; the flags are those of its comparison with 0.
fn length(e: &mut Emit, slow: Label) {
    e.store_imm(Code::Test_rm32_imm32, e.places.string(), i32::from(Strings::REPEATED));
    e.branch(Code::Je_rel32_64, slow);
    immediate(e, Code::Cmp_rm64_imm32, Register::RCX, MOST_BYTES);
    e.branch(Code::Ja_rel32_64, slow);
    e.load(Code::Mov_r32_rm32, Register::R10D, e.places.string());
    immediate(e, Code::And_rm32_imm32, Register::R10D, i32::from(Strings::UNIT_BYTES));
    e.push(Instruction::with2(Code::Imul_r64_rm64, LENGTH, Register::RCX));
    immediate(e, Code::Cmp_rm64_imm32, LENGTH, MOST_BYTES);
    e.branch(Code::Ja_rel32_64, slow);
    e.push(Instruction::with2(Code::Test_rm64_r64, LENGTH, LENGTH));
}

/// Goes on where pages may be in the windows: elsewhere each access would cost a signal.
fn is_inside(e: &mut Emit, start: Register, slow: Label) {
    let bytes = LAST_ENTERED - KERNEL_HALF_START.0 - u64::from(MOST_BYTES.unsigned_abs());
    e.mov_imm64(Register::RCX, KERNEL_HALF_START.0.wrapping_neg());
    add(e, Register::RCX, start);
    e.mov_imm64(Register::RAX, bytes);
    e.push(Instruction::with2(Code::Cmp_r64_rm64, Register::RCX, Register::RAX));
    e.branch(Code::Jae_rel32_64, slow);
}

/// Goes on if no byte that is read has the place in its page of another that is written.
fn is_apart(e: &mut Emit, slow: Label) {
    let fine = e.label();
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RCX, TO));
    e.push(Instruction::with2(Code::Sub_r64_rm64, Register::RCX, FROM));
    immediate(e, Code::And_rm32_imm32, Register::ECX, 0xfff);
    e.branch(Code::Je_rel32_64, fine);
    e.push(Instruction::with2(Code::Cmp_r64_rm64, Register::RCX, LENGTH));
    e.branch(Code::Jb_rel32_64, slow);
    add(e, Register::RCX, LENGTH);
    immediate(e, Code::Cmp_rm64_imm32, Register::RCX, 4096);
    e.branch(Code::Ja_rel32_64, slow);
    e.place(fine);
}

/// The stored unit, again and again. The length of a run and that of a piece are multiples of it.
fn broadcast(e: &mut Emit) {
    let done = e.label();
    let value = e.places.saved_rax();
    e.load(Code::Mov_r32_rm32, Register::EAX, e.places.string());
    for (unit, code) in [
        (1, Code::EVEX_Vpbroadcastb_zmm_k1z_xmmm8),
        (2, Code::EVEX_Vpbroadcastw_zmm_k1z_xmmm16),
        (4, Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32),
    ] {
        let other = e.label();
        immediate(e, Code::Test_rm32_imm32, Register::EAX, unit);
        e.branch(Code::Je_rel32_64, other);
        e.load(code, BYTES, value);
        e.branch(Code::Jmp_rel32_64, done);
        e.place(other);
    }
    e.load(Code::EVEX_Vpbroadcastq_zmm_k1z_xmmm64, BYTES, value);
    e.place(done);
}

/// A run whose length is known not to be 0, of the same bytes or of those at [`FROM`].
#[derive(Clone, Copy)]
struct Run {
    state_adjust: i64,
    is_store: bool,
}

impl Run {
    fn emit(self, e: &mut Emit, slow: Label) {
        let (long, done) = (e.label(), e.label());
        immediate(e, Code::Cmp_rm64_imm32, LENGTH, PIECE);
        e.branch(Code::Jae_rel32_64, long);
        self.short(e, slow);
        e.branch(Code::Jmp_rel32_64, done);
        e.place(long);
        self.long(e, slow);
        e.place(done);
    }

    /// Less than a piece: what lies behind the end is not touched.
    fn short(self, e: &mut Emit, slow: Label) {
        let all = Register::RCX;
        immediate(e, Code::Mov_rm64_imm32, all, -1);
        e.push(Instruction::with3(Code::VEX_Bzhi_r64_rm64_r64, all, all, LENGTH));
        e.push(Instruction::with2(Code::VEX_Kmovq_kr_r64, SHORT, all));
        let load = Code::EVEX_Vmovdqu8_zmm_k1z_zmmm512;
        masked(e, Instruction::with2(load, FOUND, self.states(TO, Register::None)), true);
        if !self.is_store {
            let states = self.states(FROM, Register::None);
            masked(e, Instruction::with2(load, BYTES, states), true);
            let or = Code::EVEX_Vporq_zmm_k1z_zmm_zmmm512b64;
            e.push(Instruction::with3(or, FOUND, FOUND, BYTES));
        }
        nothing_found(e, slow);
        if !self.is_store {
            masked(e, Instruction::with2(load, BYTES, data(FROM, Register::None)), true);
        }
        let store = Code::EVEX_Vmovdqu8_zmmm512_k1z_zmm;
        masked(e, Instruction::with2(store, data(TO, Register::None), BYTES), false);
    }

    /// Pieces from the start on, and one that ends with the run.
    fn long(self, e: &mut Emit, slow: Label) {
        let (load, or) =
            (Code::EVEX_Vmovdqu64_zmm_k1z_zmmm512, Code::EVEX_Vporq_zmm_k1z_zmm_zmmm512b64);
        let store = Code::EVEX_Vmovdqu64_zmmm512_k1z_zmm;
        let last = MemoryOperand::with_base_displ(LENGTH, i64::from(-PIECE));
        e.push(Instruction::with2(Code::Lea_r64_m, LAST, last));
        e.push(Instruction::with2(load, FOUND, self.states(TO, LAST)));
        if !self.is_store {
            e.push(Instruction::with3(or, FOUND, FOUND, self.states(FROM, LAST)));
        }
        pieces(e, |e| {
            e.push(Instruction::with3(or, FOUND, FOUND, self.states(TO, AT)));
            if !self.is_store {
                e.push(Instruction::with3(or, FOUND, FOUND, self.states(FROM, AT)));
            }
        });
        nothing_found(e, slow);
        let mut last_bytes = BYTES;
        if !self.is_store {
            last_bytes = LAST_BYTES;
            e.push(Instruction::with2(load, last_bytes, data(FROM, LAST)));
        }
        pieces(e, |e| {
            if !self.is_store {
                e.push(Instruction::with2(load, BYTES, data(FROM, AT)));
            }
            e.push(Instruction::with2(store, data(TO, AT), BYTES));
        });
        e.push(Instruction::with2(store, data(TO, LAST), last_bytes));
    }

    fn states(self, base: Register, index: Register) -> MemoryOperand {
        MemoryOperand::new(base, index, 1, self.state_adjust, 8, false, Register::FS)
    }
}

fn data(base: Register, index: Register) -> MemoryOperand {
    MemoryOperand::new(base, index, 1, 0, 0, false, Register::GS)
}

/// Does something for each piece that begins before the last one, and for one in any case.
fn pieces(e: &mut Emit, each: impl Fn(&mut Emit)) {
    let again = e.label();
    e.push(Instruction::with2(Code::Xor_r32_rm32, Register::R11D, Register::R11D));
    e.place(again);
    each(e);
    immediate(e, Code::Add_rm64_imm32, AT, PIECE);
    e.push(Instruction::with2(Code::Cmp_r64_rm64, AT, LAST));
    e.branch(Code::Jb_rel32_64, again);
}

/// Goes on if all that was found in states is 0.
fn nothing_found(e: &mut Emit, slow: Label) {
    let (mask, test) = (Register::K1, Code::EVEX_Vptestmq_kr_k1_zmm_zmmm512b64);
    e.push(Instruction::with3(test, mask, FOUND, FOUND));
    e.push(Instruction::with2(Code::VEX_Kortestb_kr_kr, mask, mask));
    e.branch(Code::Jne_rel32_64, slow);
}

/// The same instruction for the bytes of a short run.
fn masked(e: &mut Emit, ins: Result<Instruction, iced_x86::IcedError>, is_load: bool) {
    e.push(ins.map(|mut ins| {
        ins.set_op_mask(SHORT);
        ins.set_zeroing_masking(is_load);
        ins
    }));
}

fn immediate(e: &mut Emit, code: Code, register: Register, value: i32) {
    e.push(Instruction::with2(code, register, value));
}

fn add(e: &mut Emit, to: Register, what: Register) {
    e.push(Instruction::with2(Code::Add_r64_rm64, to, what));
}
