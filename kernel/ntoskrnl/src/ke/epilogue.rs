//! Recognises that an instruction lies in an epilogue, and says what is left of it.
//!
//! Sources: "x64 exception handling", unwind procedure, case a: the code from RIP on is compared
//! with what a legitimate epilogue ends in,
//! <https://learn.microsoft.com/cpp/build/exception-handling-x64>; "x64 prolog and epilog", epilog
//! code: an `add` or `lea` that frees the fixed allocation, pops, a return or jump,
//! <https://learn.microsoft.com/cpp/build/prolog-and-epilog>.

use pe_image::unwind::{ReadRva, RuntimeFunction};

/// What an instruction of an epilogue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Raises rsp by a constant.
    Free { size_bytes: u32 },
    /// Sets rsp to the frame register and a constant.
    FreeFrom { register: u8, displacement: i32 },
    /// Pops eight bytes.
    Pop { register: u8 },
}

/// More pops than there are registers to pop.
const STEP_LIMIT: usize = 17;
const REX_W: u8 = 8;
const REX_B: u8 = 1;

/// The code that is compared.
struct Code<'a, R> {
    reader: &'a mut R,
    rva: u32,
}

impl<R: ReadRva> Code<'_, R> {
    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        let is_read = self.reader.read_rva(self.rva, &mut byte);
        self.rva = self.rva.checked_add(1)?;
        is_read.then_some(byte[0])
    }

    fn byte_signed(&mut self) -> Option<i32> {
        Some(i32::from(i8::from_le_bytes([self.byte()?])))
    }

    fn dword_signed(&mut self) -> Option<i32> {
        let bytes = [self.byte()?, self.byte()?, self.byte()?, self.byte()?];
        Some(i32::from_le_bytes(bytes))
    }
}

/// An instruction of an epilogue.
enum Found {
    Step(Step),
    Return,
    /// A jump to an address that stands in memory or a register.
    JumpIndirect,
    JumpTo(u32),
}

/// What is left of the epilogue at `rva` before its return or jump; `None` if it is none.
///
/// `is_tail_call` says whether a direct jump to an address leaves the function: inside a function
/// such a jump ends nothing.
pub(super) fn rest(
    reader: &mut impl ReadRva,
    rva: u32,
    frame_register: Option<u8>,
    is_tail_call: impl Fn(u32) -> bool,
) -> Option<Vec<Step>> {
    let mut code = Code { reader, rva };
    let mut steps = Vec::new();
    while steps.len() < STEP_LIMIT {
        match instruction(&mut code)? {
            // The allocation is freed first, and by the register that the function uses.
            Found::Step(Step::Free { .. } | Step::FreeFrom { .. }) if !steps.is_empty() => {
                return None;
            }
            Found::Step(Step::FreeFrom { register, .. }) if Some(register) != frame_register => {
                return None;
            }
            Found::Step(step) => steps.push(step),
            Found::Return | Found::JumpIndirect => return Some(steps),
            Found::JumpTo(target) => return is_tail_call(target).then_some(steps),
        }
    }
    None
}

/// Decodes an instruction that epilogues may hold.
fn instruction<R: ReadRva>(code: &mut Code<'_, R>) -> Option<Found> {
    let mut first = code.byte()?;
    if first == 0xf3 {
        // A return that branch prediction of older processors preferred with two bytes.
        return (code.byte()? == 0xc3).then_some(Found::Return);
    }
    let rex = if first & 0xf0 == 0x40 { first } else { 0 };
    if rex != 0 {
        first = code.byte()?;
    }
    let high = (rex & REX_B) << 3;
    Some(match first {
        0xc3 => Found::Return,
        0x58..=0x5f => Found::Step(Step::Pop { register: first & 7 | high }),
        0x81 | 0x83 if rex & REX_W != 0 && high == 0 && code.byte()? == 0xc4 => {
            let size = if first == 0x83 { code.byte_signed()? } else { code.dword_signed()? };
            Found::Step(Step::Free { size_bytes: u32::try_from(size).ok()? })
        }
        // To rsp, from a register and a displacement.
        0x8d if rex & REX_W != 0 => {
            let modrm = code.byte()?;
            let low = modrm & 7;
            // r12 needs an index byte that says "none".
            if modrm >> 3 & 7 != 4 || low == 4 && code.byte()? != 0x24 {
                return None;
            }
            let displacement = match modrm >> 6 {
                0 if low != 5 => 0,
                1 => code.byte_signed()?,
                2 => code.dword_signed()?,
                _ => return None,
            };
            Found::Step(Step::FreeFrom { register: low | high, displacement })
        }
        0xeb => {
            let distance = code.byte_signed()?;
            Found::JumpTo(code.rva.wrapping_add_signed(distance))
        }
        0xe9 => {
            let distance = code.dword_signed()?;
            Found::JumpTo(code.rva.wrapping_add_signed(distance))
        }
        // Of jumps through memory only those without a displacement byte; compilers mark a tail
        // call through a register with REX.W, since other jumps through registers are switches.
        0xff => match code.byte()? {
            modrm if modrm >> 3 & 7 != 4 => return None,
            modrm if modrm >> 6 == 0 || modrm >> 6 == 3 && rex & REX_W != 0 => Found::JumpIndirect,
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether a direct jump from one function to an address is a tail call: it goes to the beginning
/// of another function, or to one that needs no entry in the table.
pub(super) fn is_tail_call(
    from: RuntimeFunction,
    target: u32,
    lookup: impl Fn(u32) -> Option<RuntimeFunction>,
    is_part: impl Fn(RuntimeFunction) -> bool,
) -> bool {
    if from.contains(target) {
        return false;
    }
    match lookup(target) {
        None => true,
        // The other parts of a split function have unwind data that continues another's.
        Some(to) => to.begin_rva == target && !is_part(to),
    }
}

#[cfg(test)]
mod tests {
    use pe_image::unwind::RuntimeFunction;

    use super::{Step, is_tail_call, rest};

    const RBP: u8 = 5;

    /// Compares code at 0x1000 of a function that frees its frame by rbp.
    fn matched(bytes: &[u8]) -> Option<Vec<Step>> {
        let mut read = |rva: u32, out: &mut [u8]| {
            let start = rva.wrapping_sub(0x1000) as usize;
            let found = bytes.get(start..start + out.len());
            found.is_some_and(|found| {
                out.copy_from_slice(found);
                true
            })
        };
        rest(&mut read, 0x1000, Some(RBP), |target| target >= 0x2000)
    }

    #[test]
    fn the_rest_of_an_epilogue_is_recognised_from_each_of_its_instructions() {
        // add rsp, 28h; pop rdi; pop r14; pop rbx; ret
        let bytes = [0x48, 0x83, 0xc4, 0x28, 0x5f, 0x41, 0x5e, 0x5b, 0xc3];
        let steps = [
            Step::Free { size_bytes: 0x28 },
            Step::Pop { register: 7 },
            Step::Pop { register: 14 },
            Step::Pop { register: 3 },
        ];
        for (skipped, at) in [0, 4, 5, 7, 8].into_iter().enumerate() {
            assert_eq!(matched(&bytes[at..]).as_deref(), Some(&steps[skipped..]), "{at}");
        }
    }

    #[test]
    fn epilogues_free_by_the_frame_register_and_end_in_jumps() {
        let free_from = |register, displacement| Step::FreeFrom { register, displacement };
        for (bytes, steps) in [
            (
                &[0x48, 0x8d, 0x65, 0xf0, 0x5d, 0xc3][..],
                vec![free_from(5, -16), Step::Pop { register: 5 }],
            ),
            (&[0x48, 0x8d, 0xa5, 0, 1, 0, 0, 0xc3], vec![free_from(5, 256)]),
            (&[0x48, 0x81, 0xc4, 0, 1, 0, 0, 0xc3], vec![Step::Free { size_bytes: 256 }]),
            (&[0xf3, 0xc3], vec![]),
            // jmp [rip+...], rex.w jmp [rip+...], rex.w jmp rax
            (&[0xff, 0x25, 0, 0, 0, 0], vec![]),
            (&[0x48, 0xff, 0x25, 0, 0, 0, 0], vec![]),
            (&[0x48, 0xff, 0xe0], vec![]),
            // jmp to 0x2000, outside of the function
            (&[0xe9, 0xfb, 0x0f, 0, 0], vec![]),
        ] {
            assert_eq!(matched(bytes), Some(steps), "{bytes:x?}");
        }
    }

    #[test]
    fn other_code_is_no_epilogue() {
        for bytes in [
            // The frame register of another function.
            &[0x48, 0x8d, 0x67, 0x10, 0xc3][..],
            // Freed after a pop, freed twice, something else in between, a negative size.
            &[0x5b, 0x48, 0x83, 0xc4, 0x28, 0xc3],
            &[0x48, 0x83, 0xc4, 0x28, 0x48, 0x83, 0xc4, 0x28, 0xc3],
            &[0x48, 0x83, 0xc4, 0x28, 0x31, 0xc0, 0xc3],
            &[0x48, 0x83, 0xc4, 0xf8, 0xc3],
            // add esp, 28h; sub rsp, 28h; add rax, 28h
            &[0x83, 0xc4, 0x28, 0xc3],
            &[0x48, 0x83, 0xec, 0x28, 0xc3],
            &[0x48, 0x83, 0xc0, 0x28, 0xc3],
            // A jump inside the function, a switch, a call, jmp [rax+8].
            &[0xeb, 0x10],
            &[0xff, 0xe0],
            &[0xff, 0x15, 0, 0, 0, 0],
            &[0x48, 0xff, 0x60, 8],
            // Pops without end, and code that cannot be read.
            &[0x58; 32],
            &[0x5b],
        ] {
            assert_eq!(matched(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn a_jump_to_another_part_of_the_function_is_no_tail_call() {
        let function =
            |begin_rva, end_rva| RuntimeFunction { begin_rva, end_rva, unwind_info_rva: 0 };
        let (here, part, other) = (function(0, 8), function(8, 16), function(16, 32));
        let lookup = |rva: u32| [here, part, other].into_iter().find(|f| f.contains(rva));
        let is_tail = |target| is_tail_call(here, target, lookup, |to| to == part);
        assert_eq!(
            [0, 4, 8, 12, 16, 20, 32].map(is_tail),
            [false, false, false, false, true, false, true]
        );
    }
}
