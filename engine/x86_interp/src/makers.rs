//! Encodings that processors of different makers execute differently.
//!
//! Compilers and assemblers emit none of them, so code that has one was written for one maker or
//! is no code at all. Executing it in either way could be wrong, so it is not modelled. Each row
//! was seen on processors of both makers by `cargo xtask vectors`.

use iced_x86::{Code, Instruction, OpKind};

/// The prefixes of an instruction that a row can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Prefixes {
    /// 66h.
    operand_size: bool,
    /// F2h or F3h.
    repeat: bool,
    /// The REX prefix, if it is in force: directly before the opcode.
    rex: u8,
}

const REX_W: u8 = 8;
const REX_B: u8 = 1;

/// One kind of encoding.
struct Row {
    is_one: fn(&Instruction) -> bool,
    has_prefixes: fn(Prefixes) -> bool,
    /// What differs, for the report.
    difference: &'static str,
}

static ROWS: &[Row] = &[
    // AMD64 Architecture Programmer's Manual, volume 1, 3.7.9 "Branching in 64-Bit Mode", table
    // 3-9: near branches can be overridden to an operand size of 16 bits. Intel 64 Software
    // Developer's Manual, volume 1, 6.3.7 "Branch Functions in 64-Bit Mode": the operand size of
    // near branches is forced to 64 bits. REX.W outweighs the prefix for both (`data16 rex.W call`
    // occurs as padding).
    Row {
        is_one: |ins| is_near_branch(ins.code()),
        has_prefixes: |prefixes| prefixes.operand_size && prefixes.rex & REX_W == 0,
        difference: "an operand-size prefix cuts the target of a near branch to 16 bits, or not",
    },
    // Intel, volume 2A, 2.1.1 "Instruction Prefixes": repeat prefixes on anything but string and
    // I/O instructions are reserved and may be unpredictable. AMD, volume 3, 1.2.6 "Repeat
    // Prefixes": they are for string instructions only. AMD processors take the condition of a
    // loop from the prefix, Intel's from the opcode.
    Row {
        is_one: Instruction::is_loopcc,
        has_prefixes: |prefixes| prefixes.repeat,
        difference: "a repeat prefix changes the condition of loope and loopne, or not",
    },
    // Both, "XCHG": with REX.B, opcode 90h is an exchange with r8. Behind F3h it stays one for AMD
    // processors; for Intel's it is PAUSE.
    Row {
        is_one: |ins| ins.code() == Code::Pause,
        has_prefixes: |prefixes| prefixes.rex & REX_B != 0,
        difference: "REX.B makes pause an exchange with r8, or not",
    },
    // AMD, volume 3, "PREFETCHx": 0F 0D has a memory operand only. Intel, volume 2D, opcode map:
    // with a register it is a reserved NOP.
    Row {
        is_one: |ins| {
            use Code::{
                Reservednop_rm16_r16_0F0D, Reservednop_rm32_r32_0F0D, Reservednop_rm64_r64_0F0D,
            };
            matches!(
                ins.code(),
                Reservednop_rm16_r16_0F0D | Reservednop_rm32_r32_0F0D | Reservednop_rm64_r64_0F0D
            )
        },
        has_prefixes: |_| true,
        difference: "a prefetch of a register is an invalid opcode, or does nothing",
    },
    // Intel, volume 2B, "MOVSX/MOVSXD": with an operand size of 16 bits, MOVSXD moves a word from a
    // word. AMD, volume 3, "MOVSXD": the source is 32 bits. It shows at the end of a page.
    Row {
        is_one: |ins| ins.code() == Code::Movsxd_r16_rm16 && ins.op1_kind() == OpKind::Memory,
        has_prefixes: |_| true,
        difference: "movsxd to a 16-bit register reads four bytes of memory, or two",
    },
];

/// What makers disagree about in an instruction with these bytes.
pub(crate) fn difference(ins: &Instruction, bytes: &[u8]) -> Option<&'static str> {
    let mut rows = ROWS.iter().filter(|row| (row.is_one)(ins)).peekable();
    rows.peek()?;
    let prefixes = prefixes(bytes);
    rows.find(|row| (row.has_prefixes)(prefixes)).map(|row| row.difference)
}

/// Reads the prefixes in front of an opcode.
fn prefixes(bytes: &[u8]) -> Prefixes {
    let mut found = Prefixes::default();
    for byte in bytes {
        match byte {
            // Any other prefix behind REX puts REX out of force.
            0x66 => found = Prefixes { operand_size: true, rex: 0, ..found },
            0xf2 | 0xf3 => found = Prefixes { repeat: true, rex: 0, ..found },
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 => found.rex = 0,
            0x40..=0x4f => found.rex = *byte,
            _ => break,
        }
    }
    found
}

fn is_near_branch(code: Code) -> bool {
    code.is_jmp_short_or_near()
        || code.is_jmp_near_indirect()
        || code.is_jcc_short_or_near()
        || code.is_call_near()
        || code.is_call_near_indirect()
        || code.is_loop()
        || code.is_loopcc()
        || code.is_jcx_short()
        || matches!(code, Code::Retnq | Code::Retnq_imm16)
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::difference;

    fn differs(bytes: &[u8]) -> bool {
        let ins = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        assert!(!ins.is_invalid(), "{bytes:x?}");
        assert_eq!(ins.len(), bytes.len(), "{bytes:x?}");
        difference(&ins, bytes).is_some()
    }

    #[test]
    fn encodings_that_makers_execute_differently() {
        let cases: &[&[u8]] = &[
            &[0x66, 0xe8, 0, 0, 0, 0],
            &[0x66, 0xe9, 0, 0, 0, 0],
            &[0x66, 0xeb, 0],
            &[0x66, 0x74, 0],
            &[0x66, 0x0f, 0x84, 0, 0, 0, 0],
            &[0x66, 0x41, 0xff, 0xe3],
            &[0xf3, 0x66, 0xff, 0xd0],
            &[0x66, 0xc3],
            &[0x66, 0xc2, 8, 0],
            &[0x66, 0xe2, 0],
            &[0x66, 0xe3, 0],
            // REX.W is not directly before the opcode.
            &[0x48, 0x66, 0xe8, 0, 0, 0, 0],
            &[0xf2, 0xe0, 0],
            &[0xf3, 0x48, 0xe1, 0],
            &[0xf3, 0x41, 0x90],
            &[0x0f, 0x0d, 0xc0],
            &[0x66, 0x4d, 0x0f, 0x0d, 0xca],
            &[0x66, 0x63, 0x06],
        ];
        for bytes in cases {
            assert!(differs(bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn encodings_that_compilers_emit() {
        let cases: &[&[u8]] = &[
            // A call padded to eight bytes.
            &[0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0],
            // Returns, jumps and calls with the prefixes of branch prediction, MPX and CET.
            &[0xf3, 0xc3],
            &[0xf2, 0xc3],
            &[0xf2, 0xe8, 0, 0, 0, 0],
            &[0xf2, 0xff, 0x25, 0, 0, 0, 0],
            &[0x3e, 0xff, 0xe0],
            &[0x2e, 0x74, 0],
            // The jump through an import table and out of a function.
            &[0x48, 0xff, 0x25, 0, 0, 0, 0],
            &[0x48, 0xff, 0xe0],
            // Padding.
            &[0x66, 0x90],
            &[0x66, 0x0f, 0x1f, 0x44, 0, 0],
            &[0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
            // Loops, hints, prefetches, landing pads.
            &[0xe0, 0],
            &[0xe2, 0],
            &[0xf3, 0x90],
            &[0xf3, 0x48, 0x90],
            &[0x0f, 0x0d, 0x08],
            &[0x41, 0x0f, 0x0d, 0x09],
            &[0xf3, 0x0f, 0x1e, 0xfa],
            &[0x48, 0x63, 0x06],
            &[0x66, 0x63, 0xc0],
        ];
        for bytes in cases {
            assert!(!differs(bytes), "{bytes:x?}");
        }
    }
}
