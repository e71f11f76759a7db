//! The x87 control and status words, and the state image of fxsave and fxrstor.

use super::{Table, code, one};
use crate::{Done, Env, Go, Op, Registers, Stop, Vector};

/// Bytes of the image that are defined.
const IMAGE_BYTES: usize = 512;
/// Bytes of the image that fxsave writes: the rest is left to software.
const WRITTEN_BYTES: usize = 416;
/// MXCSR bits that exist.
const MXCSR_MASK: u32 = 0xffff;

/// Recomputes the error summary after the flags or their masks changed.
fn summarize(r: &mut Registers) {
    let pending = r.x87_status & !r.x87_control & 0x3f != 0;
    r.x87_status = r.x87_status & !0x8080 | if pending { 0x8080 } else { 0 };
}

/// Bits of the control word that can be written; bit 6 always reads as one.
fn control_word(value: u16) -> u16 {
    value & 0x1f3f | 0x40
}

fn fldcw(e: &mut Env<'_>, op: &Op) -> Done {
    if e.r.x87_status & 0x80 != 0 {
        return Err(e.fault(Vector::FloatingPoint));
    }
    let value = e.load::<u16>(op.address(e.r))?;
    e.r.x87_control = control_word(low16(value));
    summarize(e.r);
    Ok(Go::Next)
}

fn fnstcw(e: &mut Env<'_>, op: &Op) -> Done {
    e.store::<u16>(op.address(e.r), u64::from(e.r.x87_control))?;
    Ok(Go::Next)
}

fn fnstsw(e: &mut Env<'_>, op: &Op) -> Done {
    let status = u64::from(e.r.x87_status);
    e.put::<u16>(op, 0, status)?;
    Ok(Go::Next)
}

fn fnclex(e: &mut Env<'_>, _op: &Op) -> Done {
    e.r.x87_status &= 0x7f00;
    Ok(Go::Next)
}

fn fninit(e: &mut Env<'_>, _op: &Op) -> Done {
    e.r.x87_control = 0x37f;
    e.r.x87_status = 0;
    e.r.x87_tag = 0xffff;
    Ok(Go::Next)
}

fn low16(value: u64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn put(image: &mut [u8; IMAGE_BYTES], at: usize, bytes: &[u8]) {
    if let Some(slot) = image.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

fn take<const N: usize>(image: &[u8; IMAGE_BYTES], at: usize) -> [u8; N] {
    image.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// Builds the image; instruction and data pointers are zero.
fn image_of(r: &Registers) -> [u8; IMAGE_BYTES] {
    let mut image = [0; IMAGE_BYTES];
    put(&mut image, 0, &r.x87_control.to_le_bytes());
    put(&mut image, 2, &r.x87_status.to_le_bytes());
    let in_use = (0..8).fold(0_u8, |tags, i| tags | u8::from(r.x87_tag >> (2 * i) & 3 != 3) << i);
    put(&mut image, 4, &[in_use]);
    put(&mut image, 24, &r.mxcsr.to_le_bytes());
    put(&mut image, 28, &MXCSR_MASK.to_le_bytes());
    let top = usize::from(r.x87_status >> 11 & 7);
    for i in 0..8 {
        let value = r.x87.get((top + i) & 7).copied().unwrap_or(0);
        put(&mut image, 32 + 16 * i, value.to_le_bytes().get(..10).unwrap_or_default());
    }
    for (i, value) in r.xmm.iter().enumerate() {
        put(&mut image, 160 + 16 * i, &value.to_le_bytes());
    }
    image
}

fn fxsave(e: &mut Env<'_>, op: &Op) -> Done {
    let at = op.address(e.r);
    e.check_aligned(at)?;
    e.check_write(at, IMAGE_BYTES as u64)?;
    let image = image_of(e.r);
    for (chunk, offset) in image.chunks(32).take(WRITTEN_BYTES / 32).zip((0_u64..).step_by(32)) {
        e.store_bytes(at.wrapping_add(offset), chunk)?;
    }
    Ok(Go::Next)
}

fn load_image(e: &mut Env<'_>, at: u64) -> Result<[u8; IMAGE_BYTES], Stop> {
    let mut image = [0; IMAGE_BYTES];
    for (chunk, offset) in image.chunks_mut(32).zip((0_u64..).step_by(32)) {
        e.load_bytes(at.wrapping_add(offset), chunk)?;
    }
    Ok(image)
}

fn fxrstor(e: &mut Env<'_>, op: &Op) -> Done {
    let at = op.address(e.r);
    e.check_aligned(at)?;
    let image = load_image(e, at)?;
    let mxcsr = u32::from_le_bytes(take(&image, 24));
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(e.fault(Vector::GeneralProtection));
    }
    e.r.mxcsr = mxcsr;
    e.r.x87_control = control_word(u16::from_le_bytes(take(&image, 0)));
    e.r.x87_status = u16::from_le_bytes(take(&image, 2));
    summarize(e.r);
    let [in_use] = take(&image, 4);
    e.r.x87_tag =
        (0..8).fold(0, |word, i| word | if in_use >> i & 1 == 0 { 3 << (2 * i) } else { 0 });
    let top = usize::from(e.r.x87_status >> 11 & 7);
    for i in 0..8 {
        let value = u128::from_le_bytes(take(&image, 32 + 16 * i)) & (u128::MAX >> 48);
        if let Some(slot) = e.r.x87.get_mut((top + i) & 7) {
            *slot = value;
        }
    }
    for (i, slot) in e.r.xmm.iter_mut().enumerate() {
        *slot = u128::from_le_bytes(take(&image, 160 + 16 * i));
    }
    Ok(Go::Next)
}

pub(super) static TABLE: Table = &[
    one!(Fldcw, fldcw),
    one!(Fnstcw, fnstcw),
    code!(Fnstsw_AX, fnstsw),
    code!(Fnstsw_m2byte, fnstsw),
    one!(Fnclex, fnclex),
    one!(Fninit, fninit),
    one!(Fxsave, fxsave),
    one!(Fxsave64, fxsave),
    one!(Fxrstor, fxrstor),
    one!(Fxrstor64, fxrstor),
];
