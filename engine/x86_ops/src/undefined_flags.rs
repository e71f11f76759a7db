//! What each instruction leaves undefined: flags, and in a few cases its result.
//!
//! One row per group of mnemonics with the page of the Intel SDM (volume 2, "Flags Affected" and
//! "Operation") that says so. The comparison with the host CPU ignores these bits, and definedness
//! tracking may treat them as undefined. An instruction without a row leaves nothing undefined.

use iced_x86::{Instruction, Mnemonic, OpKind};

/// CF in RFLAGS.
pub const CF: u64 = 1;
/// PF in RFLAGS.
pub const PF: u64 = 1 << 2;
/// AF in RFLAGS.
pub const AF: u64 = 1 << 4;
/// ZF in RFLAGS.
pub const ZF: u64 = 1 << 6;
/// SF in RFLAGS.
pub const SF: u64 = 1 << 7;
/// DF in RFLAGS.
pub const DF: u64 = 1 << 10;
/// OF in RFLAGS.
pub const OF: u64 = 1 << 11;
/// The six flags that arithmetic sets.
pub const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;

/// C0, C2 and C3 in the x87 status word.
pub const X87_C0_C2_C3: u16 = 1 << 8 | 1 << 10 | 1 << 14;
/// C1 in the x87 status word.
pub const X87_C1: u16 = 1 << 9;

/// What an instruction left undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// RFLAGS bits.
    pub rflags: u64,
    /// The destination operand (operand 0) as a whole.
    pub destination: bool,
    /// x87 status word bits.
    pub x87_status: u16,
}

/// What the rule of a row needs to know about one execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// CL before the instruction.
    pub cl: u8,
    /// The source operand was zero (for the bit scans).
    pub is_source_zero: bool,
}

/// Returns what `instruction` leaves undefined when executed with `inputs`.
#[must_use]
pub fn left_undefined(instruction: &Instruction, inputs: Inputs) -> Leaves {
    let mnemonic = instruction.mnemonic();
    match TABLE.iter().find(|row| row.mnemonics.contains(&mnemonic)) {
        Some(row) => (row.rule)(instruction, inputs),
        None => Leaves::default(),
    }
}

/// Returns the flags that `mnemonic` can leave undefined for some operands.
#[must_use]
pub fn ever_undefined(instruction: &Instruction) -> u64 {
    // Counts: none, one, several, at the width and above it.
    let counts = [0, 1, 2, 8, 9, 16, 17, 31];
    counts.into_iter().fold(0, |flags, cl| {
        flags | left_undefined(instruction, Inputs { cl, is_source_zero: true }).rflags
    })
}

struct Row {
    mnemonics: &'static [Mnemonic],
    /// The pages of the SDM, volume 2.
    #[expect(dead_code, reason = "kept with the row so that each rule names its page")]
    source: &'static str,
    rule: fn(&Instruction, Inputs) -> Leaves,
}

const TABLE: &[Row] = &[
    Row {
        mnemonics: &[Mnemonic::And, Mnemonic::Or, Mnemonic::Xor, Mnemonic::Test],
        source: "AND, OR, XOR, TEST: the state of the AF flag is undefined",
        rule: |_, _| flags(AF),
    },
    Row {
        mnemonics: &[Mnemonic::Mul, Mnemonic::Imul],
        source: "MUL, IMUL: the SF, ZF, AF and PF flags are undefined",
        rule: |_, _| flags(SF | ZF | AF | PF),
    },
    Row {
        mnemonics: &[Mnemonic::Div, Mnemonic::Idiv],
        source: "DIV, IDIV: the CF, OF, SF, ZF, AF and PF flags are undefined",
        rule: |_, _| flags(ARITHMETIC),
    },
    Row {
        mnemonics: &[Mnemonic::Shl, Mnemonic::Sal, Mnemonic::Shr, Mnemonic::Sar],
        source: "SAL/SAR/SHL/SHR: AF for a non-zero count, OF for other than 1-bit shifts, CF \
                 of SHL and SHR for a count of at least the operand size",
        rule: shift,
    },
    Row {
        mnemonics: &[Mnemonic::Rol, Mnemonic::Ror, Mnemonic::Rcl, Mnemonic::Rcr],
        source: "RCL/RCR/ROL/ROR: OF is undefined unless the masked count is 0 or 1",
        rule: |instruction, inputs| match masked_count(instruction, inputs) {
            0 | 1 => Leaves::default(),
            _ => flags(OF),
        },
    },
    Row {
        mnemonics: &[Mnemonic::Shld, Mnemonic::Shrd],
        source: "SHLD, SHRD: AF for a non-zero count, OF for a count above 1, everything for \
                 a count above the operand size",
        rule: double_shift,
    },
    Row {
        mnemonics: &[Mnemonic::Bt, Mnemonic::Bts, Mnemonic::Btr, Mnemonic::Btc],
        source: "BT, BTC, BTR, BTS: the OF, SF, AF and PF flags are undefined",
        rule: |_, _| flags(OF | SF | AF | PF),
    },
    Row {
        mnemonics: &[Mnemonic::Bsf, Mnemonic::Bsr],
        source: "BSF, BSR: CF, OF, SF, AF and PF are undefined; the destination too if the \
                 source is 0",
        rule: |_, inputs| Leaves {
            destination: inputs.is_source_zero,
            ..flags(CF | OF | SF | AF | PF)
        },
    },
    Row {
        mnemonics: &[Mnemonic::Tzcnt, Mnemonic::Lzcnt],
        source: "TZCNT, LZCNT: OF, SF, PF and AF are undefined",
        rule: |_, _| flags(OF | SF | PF | AF),
    },
    Row {
        mnemonics: &[Mnemonic::Bswap],
        source: "BSWAP: with a 16-bit register the result is undefined",
        rule: |instruction, _| Leaves {
            destination: instruction.op0_register().size() == 2,
            ..Leaves::default()
        },
    },
    Row {
        mnemonics: &[
            Mnemonic::Fld,
            Mnemonic::Fld1,
            Mnemonic::Fldz,
            Mnemonic::Fldl2t,
            Mnemonic::Fldl2e,
            Mnemonic::Fldpi,
            Mnemonic::Fldlg2,
            Mnemonic::Fldln2,
            Mnemonic::Fild,
            Mnemonic::Fst,
            Mnemonic::Fstp,
            Mnemonic::Fist,
            Mnemonic::Fistp,
            Mnemonic::Fisttp,
            Mnemonic::Fxch,
            Mnemonic::Fadd,
            Mnemonic::Faddp,
            Mnemonic::Fiadd,
            Mnemonic::Fsub,
            Mnemonic::Fsubp,
            Mnemonic::Fisub,
            Mnemonic::Fsubr,
            Mnemonic::Fsubrp,
            Mnemonic::Fisubr,
            Mnemonic::Fmul,
            Mnemonic::Fmulp,
            Mnemonic::Fimul,
            Mnemonic::Fdiv,
            Mnemonic::Fdivp,
            Mnemonic::Fidiv,
            Mnemonic::Fdivr,
            Mnemonic::Fdivrp,
            Mnemonic::Fidivr,
            Mnemonic::Fsqrt,
            Mnemonic::Fabs,
            Mnemonic::Fchs,
            Mnemonic::Frndint,
            Mnemonic::Fincstp,
            Mnemonic::Fdecstp,
        ],
        source: "FLD, FST, FILD, FIST, FXCH, FADD .. FDIVR, FSQRT, FABS, FCHS, FRNDINT, \
                 FINCSTP, FDECSTP: C0, C2 and C3 are undefined",
        rule: |_, _| Leaves { x87_status: X87_C0_C2_C3, ..Leaves::default() },
    },
    Row {
        mnemonics: &[
            Mnemonic::Fldcw,
            Mnemonic::Fnstcw,
            Mnemonic::Fnstsw,
            Mnemonic::Fnop,
            Mnemonic::Wait,
            Mnemonic::Fnclex,
            Mnemonic::Ffree,
        ],
        source: "FLDCW, FSTCW, FSTSW, FNOP, FWAIT, FCLEX, FFREE: C0 to C3 are undefined",
        rule: |_, _| Leaves { x87_status: X87_C0_C2_C3 | X87_C1, ..Leaves::default() },
    },
    Row {
        mnemonics: &[Mnemonic::Fcomi, Mnemonic::Fcomip, Mnemonic::Fucomi, Mnemonic::Fucomip],
        source: "FCOMI: C1 is said to be cleared, but the processors at hand keep it without \
                 a stack fault",
        rule: |_, _| Leaves { x87_status: X87_C1, ..Leaves::default() },
    },
];

fn flags(rflags: u64) -> Leaves {
    Leaves { rflags, ..Leaves::default() }
}

/// The count of a shift or rotate, masked to 5 bits, or 6 for a 64-bit operand.
fn masked_count(instruction: &Instruction, inputs: Inputs) -> u8 {
    let last = instruction.op_count() - 1;
    let count = match instruction.op_kind(last) {
        OpKind::Immediate8 => instruction.immediate8(),
        _ => inputs.cl,
    };
    count & if operand_bits(instruction) == 64 { 63 } else { 31 }
}

fn operand_bits(instruction: &Instruction) -> usize {
    let bytes = match instruction.op0_kind() {
        OpKind::Register => instruction.op0_register().size(),
        _ => instruction.memory_size().size(),
    };
    bytes * 8
}

fn shift(instruction: &Instruction, inputs: Inputs) -> Leaves {
    let count = masked_count(instruction, inputs);
    if count == 0 {
        return Leaves::default();
    }
    let mut undefined = AF;
    if count != 1 {
        undefined |= OF;
    }
    if instruction.mnemonic() != Mnemonic::Sar && usize::from(count) >= operand_bits(instruction) {
        undefined |= CF;
    }
    flags(undefined)
}

fn double_shift(instruction: &Instruction, inputs: Inputs) -> Leaves {
    let count = masked_count(instruction, inputs);
    match count {
        0 => Leaves::default(),
        1 => flags(AF),
        _ if usize::from(count) > operand_bits(instruction) => {
            Leaves { destination: true, ..flags(ARITHMETIC) }
        }
        _ => flags(AF | OF),
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::{AF, CF, Inputs, Leaves, OF, left_undefined};

    #[test]
    fn shifts_depend_on_their_count() {
        let leaves = |bytes: &[u8], cl| {
            let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
            left_undefined(&instruction, Inputs { cl, is_source_zero: false }).rflags
        };
        assert_eq!(leaves(&[0xd3, 0xe0], 0x20), 0, "shl eax,cl");
        assert_eq!(leaves(&[0xd3, 0xe0], 0x21), AF, "shl eax,cl");
        assert_eq!(leaves(&[0xd2, 0xe0], 8), AF | OF | CF, "shl al,cl");
        assert_eq!(leaves(&[0xd2, 0xf8], 8), AF | OF, "sar al,cl");
        assert_eq!(leaves(&[0x48, 0xc1, 0xc0, 0x41], 0), 0, "rol rax,41h");
        assert_eq!(leaves(&[0xc1, 0xc0, 2], 0), OF, "rol eax,2");
        assert_eq!(leaves(&[0x01, 0xc0], 0), Leaves::default().rflags, "add eax,eax");
    }
}
