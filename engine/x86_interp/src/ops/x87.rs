//! The x87 unit: loads, stores, basic arithmetic, comparison, state.
//!
//! An unmasked exception is recorded in the status word and raised by the next waiting instruction,
//! as the processor does. Instruction and data pointers are not kept: they read as zero.
//! Source: Intel SDM volume 1, chapter 8.

use x86_ops::soft_float::{
    self, Class, DOUBLE, EXTENDED, Env as Rounding, Float, Format, NanCompare, Order, SINGLE, flag,
};

use super::{Table, one, sse_float::order_flags};
use crate::{Done, Env, Go, Kind, Op, Registers, Stop, Vector};

/// Stack fault, in the status word.
const STACK_FAULT: u16 = 1 << 6;
/// Error summary and busy.
const ERROR: u16 = 1 << 7 | 1 << 15;
const C0: u16 = 1 << 8;
const C1: u16 = 1 << 9;
const C2: u16 = 1 << 10;
const C3: u16 = 1 << 14;
const TOP_AT: u32 = 11;

/// The register file.
impl Registers {
    fn x87_top(&self) -> u16 {
        self.x87_status >> TOP_AT & 7
    }

    fn set_x87_top(&mut self, top: u16) {
        self.x87_status = self.x87_status & !(7 << TOP_AT) | (top & 7) << TOP_AT;
    }

    /// Physical number of st(i).
    fn x87_index(&self, i: u8) -> usize {
        usize::from((self.x87_top() + u16::from(i)) & 7)
    }

    fn is_x87_empty(&self, i: u8) -> bool {
        self.x87_tag >> (2 * self.x87_index(i)) & 3 == 3
    }

    /// The tag word holds 0 (in use) or 3 (empty) for each register; finer tags are made when
    /// stored.
    fn set_x87_empty(&mut self, i: u8) {
        self.x87_tag |= 3 << (2 * self.x87_index(i));
    }

    fn x87_bits(&self, i: u8) -> u128 {
        self.x87.get(self.x87_index(i)).copied().unwrap_or(0)
    }

    fn set_x87_bits(&mut self, i: u8, bits: u128) {
        let index = self.x87_index(i);
        self.x87_tag &= !(3 << (2 * index));
        if let Some(slot) = self.x87.get_mut(index) {
            *slot = bits;
        }
    }

    fn x87_pop(&mut self) {
        self.set_x87_empty(0);
        self.set_x87_top(self.x87_top().wrapping_add(1));
    }

    fn x87_push(&mut self, bits: u128) {
        self.set_x87_top(self.x87_top().wrapping_sub(1));
        self.set_x87_bits(0, bits);
    }

    /// Records exceptions; returns whether the instruction goes on (none of them is unmasked).
    fn x87_raise(&mut self, raised: u8) -> bool {
        self.x87_status |= u16::from(raised);
        let pending = u16::from(raised) & !self.x87_control & 0x3f != 0;
        if pending {
            self.x87_status |= ERROR;
        }
        !pending
    }

    /// A stack overflow (`C1` set) or underflow; returns whether it is masked.
    fn x87_stack_fault(&mut self, c1: u16) -> bool {
        self.x87_status = self.x87_status & !C1 | c1 | STACK_FAULT;
        self.x87_raise(flag::INVALID)
    }

    fn set_x87_c1(&mut self, rounded_up: bool) {
        self.x87_status = self.x87_status & !C1 | if rounded_up { C1 } else { 0 };
    }
}

/// Raises a pending exception.
fn wait_for_errors(e: &mut Env<'_>) -> Result<(), Stop> {
    if e.r.x87_status & 0x80 == 0 { Ok(()) } else { Err(e.fault(Vector::FloatingPoint)) }
}

/// The format that the precision control asks for.
fn working_format(control: u16) -> Format {
    let precision = match control >> 8 & 3 {
        0 => SINGLE.precision,
        2 => DOUBLE.precision,
        _ => EXTENDED.precision,
    };
    Format { precision, ..EXTENDED }
}

/// What a memory operand or register holds.
#[derive(Clone, Copy)]
enum Source {
    /// A register that is empty.
    Empty,
    /// A number in its register or memory format.
    Number(Float),
}

fn from_register(r: &Registers, i: u8) -> Source {
    if r.is_x87_empty(i) {
        Source::Empty
    } else {
        Source::Number(Float::unpack_extended(r.x87_bits(i)))
    }
}

/// Loads a `m32fp` or `m64fp`.
fn load_real(e: &mut Env<'_>, op: &Op) -> Result<Float, Stop> {
    let at = op.address(e.r);
    let env = Rounding::from_x87_control(e.r.x87_control);
    Ok(if op.mem_bytes == 4 {
        Float::unpack(e.load::<u32>(at)?, SINGLE, &env)
    } else {
        Float::unpack(e.load::<u64>(at)?, DOUBLE, &env)
    })
}

/// Loads a `m16int`, `m32int` or `m64int`.
fn load_int(e: &mut Env<'_>, op: &Op) -> Result<Float, Stop> {
    let at = op.address(e.r);
    let value = match op.mem_bytes {
        2 => (e.load::<u16>(at)? << 48).cast_signed() >> 48,
        4 => (e.load::<u32>(at)? << 32).cast_signed() >> 32,
        _ => e.load::<u64>(at)?.cast_signed(),
    };
    Ok(Float::from_i64(value))
}

fn load_wide(e: &mut Env<'_>, at: u64) -> Result<u128, Stop> {
    let mut bytes = [0; 16];
    e.load_bytes(at, bytes.get_mut(..10).unwrap_or_default())?;
    Ok(u128::from_le_bytes(bytes))
}

fn store_wide(e: &mut Env<'_>, at: u64, bits: u128) -> Result<(), Stop> {
    e.store_bytes(at, bits.to_le_bytes().get(..10).unwrap_or_default())
}

type Arithmetic = fn(Float, Float, Format, &mut Rounding) -> Float;

/// Which operand comes first.
#[derive(Clone, Copy, PartialEq)]
enum Operands {
    /// destination op source
    Plain,
    /// source op destination
    Reversed,
}

/// What happens to the stack.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Keep,
    Pop,
    PopTwice,
}

fn pop(e: &mut Env<'_>, after: After) {
    let times = match after {
        After::Keep => 0,
        After::Pop => 1,
        After::PopTwice => 2,
    };
    for _ in 0..times {
        e.r.x87_pop();
    }
}

/// Writes a result to st(i) unless an unmasked exception forbids it.
fn deliver(e: &mut Env<'_>, i: u8, result: Float, env: &Rounding, after: After) -> Done {
    let unmasked = env.raised & !env.masked;
    if unmasked & (flag::OVERFLOW | flag::UNDERFLOW) != 0 {
        // The register would get the result with its exponent wrapped.
        return Err(Stop::Unsupported);
    }
    let before = env.raised & flag::BEFORE;
    if before & !env.masked != 0 {
        e.r.set_x87_c1(false);
        e.r.x87_raise(before);
        return Ok(Go::Next);
    }
    e.r.set_x87_c1(env.rounded_up && env.raised & flag::INEXACT != 0);
    e.r.x87_raise(env.raised);
    e.r.set_x87_bits(i, result.pack_extended());
    pop(e, after);
    Ok(Go::Next)
}

fn arithmetic(
    e: &mut Env<'_>,
    op: &Op,
    f: Arithmetic,
    source: Source,
    (operands, after): (Operands, After),
) -> Done {
    let to = if op.kind[0] == Kind::St { op.reg[0] } else { 0 };
    let destination = from_register(e.r, to);
    let (Source::Number(a), Source::Number(b)) = (destination, source) else {
        if e.r.x87_stack_fault(0) {
            e.r.set_x87_bits(to, Float::INDEFINITE.pack_extended());
            pop(e, after);
        }
        return Ok(Go::Next);
    };
    let (a, b) = if operands == Operands::Plain { (a, b) } else { (b, a) };
    let mut env = Rounding::from_x87_control(e.r.x87_control);
    let result = f(a, b, working_format(e.r.x87_control), &mut env);
    deliver(e, to, result, &env, after)
}

/// fadd and its kin: st(i) and st(0), or st(0) and a `m32fp` or `m64fp`.
fn real(e: &mut Env<'_>, op: &Op, f: Arithmetic, how: (Operands, After)) -> Done {
    wait_for_errors(e)?;
    let source = if op.kind[0] == Kind::Mem {
        Source::Number(load_real(e, op)?)
    } else {
        from_register(e.r, op.reg[1])
    };
    arithmetic(e, op, f, source, how)
}

/// fiadd and its kin.
fn integer(e: &mut Env<'_>, op: &Op, f: Arithmetic, operands: Operands) -> Done {
    wait_for_errors(e)?;
    let source = Source::Number(load_int(e, op)?);
    arithmetic(e, op, f, source, (operands, After::Keep))
}

/// An operation on st(0) alone.
fn unary(e: &mut Env<'_>, f: impl Fn(Float, Format, &mut Rounding) -> Float) -> Done {
    wait_for_errors(e)?;
    let Source::Number(value) = from_register(e.r, 0) else {
        if e.r.x87_stack_fault(0) {
            e.r.set_x87_bits(0, Float::INDEFINITE.pack_extended());
        }
        return Ok(Go::Next);
    };
    let mut env = Rounding::from_x87_control(e.r.x87_control);
    let result = f(value, working_format(e.r.x87_control), &mut env);
    deliver(e, 0, result, &env, After::Keep)
}

/// fabs, fchs: only the sign changes, whatever the value.
fn change_sign(e: &mut Env<'_>, f: impl Fn(u128) -> u128) -> Done {
    wait_for_errors(e)?;
    if e.r.is_x87_empty(0) {
        if e.r.x87_stack_fault(0) {
            e.r.set_x87_bits(0, Float::INDEFINITE.pack_extended());
        }
        return Ok(Go::Next);
    }
    e.r.set_x87_c1(false);
    e.r.set_x87_bits(0, f(e.r.x87_bits(0)));
    Ok(Go::Next)
}

/// Pushes bits unless the register is in use.
fn push(e: &mut Env<'_>, bits: u128) -> Done {
    // The register that becomes st(0) is st(7) now.
    if e.r.is_x87_empty(7) {
        e.r.set_x87_c1(false);
        e.r.x87_push(bits);
    } else if e.r.x87_stack_fault(C1) {
        e.r.x87_push(Float::INDEFINITE.pack_extended());
    }
    Ok(Go::Next)
}

fn fld(e: &mut Env<'_>, op: &Op) -> Done {
    wait_for_errors(e)?;
    if op.kind[0] == Kind::St {
        if e.r.is_x87_empty(op.reg[0]) {
            if e.r.x87_stack_fault(0) {
                e.r.x87_push(Float::INDEFINITE.pack_extended());
            }
            return Ok(Go::Next);
        }
        return push(e, e.r.x87_bits(op.reg[0]));
    }
    if op.mem_bytes == 10 {
        let bits = load_wide(e, op.address(e.r))?;
        return push(e, bits);
    }
    let value = load_real(e, op)?;
    if !e.r.is_x87_empty(7) {
        return push(e, 0);
    }
    let mut env = Rounding::from_x87_control(e.r.x87_control);
    let value = soft_float::convert(value, EXTENDED, &mut env);
    e.r.set_x87_c1(false);
    e.r.x87_raise(env.raised);
    // A denormal is pushed even if that exception is unmasked.
    if env.raised & !env.masked & flag::INVALID == 0 {
        e.r.x87_push(value.pack_extended());
    }
    Ok(Go::Next)
}

fn fild(e: &mut Env<'_>, op: &Op) -> Done {
    wait_for_errors(e)?;
    let value = load_int(e, op)?;
    push(e, value.pack_extended())
}

/// A constant whose bits below the 64th round it up or down.
fn constant(e: &mut Env<'_>, floor: u128, nearest_is_up: bool) -> Done {
    wait_for_errors(e)?;
    let up = match Rounding::from_x87_control(e.r.x87_control).rounding {
        soft_float::Rounding::Nearest => nearest_is_up,
        soft_float::Rounding::Up => true,
        soft_float::Rounding::Down | soft_float::Rounding::Zero => false,
    };
    push(e, floor + u128::from(up))
}

fn exact(e: &mut Env<'_>, bits: u128) -> Done {
    wait_for_errors(e)?;
    push(e, bits)
}

/// Ends a store: the memory is written, now the flags and the stack.
fn stored(e: &mut Env<'_>, env: &Rounding, after: After) -> Done {
    e.r.set_x87_c1(env.rounded_up && env.raised & flag::INEXACT != 0);
    e.r.x87_raise(env.raised);
    pop(e, after);
    Ok(Go::Next)
}

/// Returns whether an exception forbids the store; then its flags are set and memory is not even
/// looked at.
fn store_refused(e: &mut Env<'_>, env: &Rounding) -> bool {
    let refusing = env.raised & !env.masked & !flag::INEXACT;
    if refusing != 0 {
        e.r.set_x87_c1(false);
        e.r.x87_raise(env.raised & !flag::INEXACT);
    }
    refusing != 0
}

/// fst, fstp.
fn fst(e: &mut Env<'_>, op: &Op, after: After) -> Done {
    wait_for_errors(e)?;
    if e.r.is_x87_empty(0) {
        return store_empty(e, op, after);
    }
    let bits = e.r.x87_bits(0);
    if op.kind[0] == Kind::St {
        e.r.set_x87_c1(false);
        e.r.set_x87_bits(op.reg[0], bits);
        pop(e, after);
        return Ok(Go::Next);
    }
    let at = op.address(e.r);
    let mut env = Rounding::from_x87_control(e.r.x87_control);
    match op.mem_bytes {
        10 => store_wide(e, at, bits)?,
        size => {
            let format = if size == 4 { SINGLE } else { DOUBLE };
            let value = soft_float::narrow(Float::unpack_extended(bits), format, &mut env);
            if store_refused(e, &env) {
                return Ok(Go::Next);
            }
            store_real(e, op, value.pack(format))?;
        }
    }
    stored(e, &env, after)
}

fn store_real(e: &mut Env<'_>, op: &Op, pattern: u64) -> Result<(), Stop> {
    let at = op.address(e.r);
    if op.mem_bytes == 4 { e.store::<u32>(at, pattern) } else { e.store::<u64>(at, pattern) }
}

/// A store of an empty register.
fn store_empty(e: &mut Env<'_>, op: &Op, after: After) -> Done {
    let masked = e.r.x87_control & 1 != 0;
    if op.kind[0] != Kind::St && masked {
        match op.mem_bytes {
            4 => store_real(e, op, Float::INDEFINITE.pack(SINGLE))?,
            8 => store_real(e, op, Float::INDEFINITE.pack(DOUBLE))?,
            _ => store_wide(e, op.address(e.r), Float::INDEFINITE.pack_extended())?,
        }
    }
    if e.r.x87_stack_fault(0) {
        if op.kind[0] == Kind::St {
            e.r.set_x87_bits(op.reg[0], Float::INDEFINITE.pack_extended());
        }
        pop(e, after);
    }
    Ok(Go::Next)
}

/// fist, fistp, fisttp.
fn fist(e: &mut Env<'_>, op: &Op, is_truncating: Truncate, after: After) -> Done {
    wait_for_errors(e)?;
    let at = op.address(e.r);
    let bits = u32::from(op.mem_bytes) * 8;
    let mut env = Rounding::from_x87_control(e.r.x87_control);
    let rounding = match is_truncating {
        Truncate::Yes => soft_float::Rounding::Zero,
        Truncate::No => env.rounding,
    };
    let is_empty = e.r.is_x87_empty(0);
    let value = if is_empty {
        env.raised |= flag::INVALID;
        None
    } else {
        soft_float::to_int(Float::unpack_extended(e.r.x87_bits(0)), bits, rounding, &mut env)
    };
    let pattern = value.map_or(1 << (bits - 1), i64::cast_unsigned);
    let refused = env.raised & !env.masked & flag::INVALID != 0;
    if !refused {
        match op.mem_bytes {
            2 => e.store::<u16>(at, pattern)?,
            4 => e.store::<u32>(at, pattern)?,
            _ => e.store::<u64>(at, pattern)?,
        }
    }
    if is_empty {
        e.r.x87_stack_fault(0);
    }
    if refused {
        store_refused(e, &env);
        return Ok(Go::Next);
    }
    stored(e, &env, after)
}

/// Whether a conversion ignores the rounding mode.
#[derive(Clone, Copy)]
enum Truncate {
    Yes,
    No,
}

fn fxch(e: &mut Env<'_>, op: &Op) -> Done {
    wait_for_errors(e)?;
    let other = op.reg[1];
    if e.r.is_x87_empty(0) || e.r.is_x87_empty(other) {
        if !e.r.x87_stack_fault(0) {
            return Ok(Go::Next);
        }
        for i in [0, other] {
            if e.r.is_x87_empty(i) {
                e.r.set_x87_bits(i, Float::INDEFINITE.pack_extended());
            }
        }
    } else {
        e.r.set_x87_c1(false);
    }
    let (a, b) = (e.r.x87_bits(0), e.r.x87_bits(other));
    e.r.set_x87_bits(0, b);
    e.r.set_x87_bits(other, a);
    Ok(Go::Next)
}

/// Compares st(0) with a source. An unmasked exception forbids the pop but not the conditions.
fn order(e: &mut Env<'_>, source: Source, nans: NanCompare) -> (Order, bool) {
    let (Source::Number(a), Source::Number(b)) = (from_register(e.r, 0), source) else {
        return (Order::Unordered, e.r.x87_stack_fault(0));
    };
    let mut env = Rounding::from_x87_control(e.r.x87_control);
    let order = soft_float::compare(a, b, nans, &mut env);
    (order, e.r.x87_raise(env.raised))
}

fn set_conditions(e: &mut Env<'_>, order: Order) {
    let bits = match order {
        Order::Greater => 0,
        Order::Less => C0,
        Order::Equal => C3,
        Order::Unordered => C0 | C2 | C3,
    };
    e.r.x87_status = e.r.x87_status & !(C0 | C2 | C3) | bits;
}

fn compare(e: &mut Env<'_>, source: Source, nans: NanCompare, after: After) -> Done {
    e.r.set_x87_c1(false);
    let (order, goes_on) = order(e, source, nans);
    set_conditions(e, order);
    if goes_on {
        pop(e, after);
    }
    Ok(Go::Next)
}

/// fcom, fcomp, fcompp, fucom, fucomp, fucompp.
fn fcom(e: &mut Env<'_>, op: &Op, nans: NanCompare, after: After) -> Done {
    wait_for_errors(e)?;
    let source = match op.kind {
        [Kind::Mem, ..] => Source::Number(load_real(e, op)?),
        [_, Kind::St, _] => from_register(e.r, op.reg[1]),
        // The forms that pop twice have no operands.
        _ => from_register(e.r, 1),
    };
    compare(e, source, nans, after)
}

fn ficom(e: &mut Env<'_>, op: &Op, after: After) -> Done {
    wait_for_errors(e)?;
    let source = Source::Number(load_int(e, op)?);
    compare(e, source, NanCompare::Signalling, after)
}

fn ftst(e: &mut Env<'_>, _op: &Op) -> Done {
    wait_for_errors(e)?;
    compare(e, Source::Number(Float::zero(false)), NanCompare::Signalling, After::Keep)
}

/// fcomi and its kin: the order goes to RFLAGS.
fn fcomi(e: &mut Env<'_>, op: &Op, nans: NanCompare, after: After) -> Done {
    wait_for_errors(e)?;
    let source = from_register(e.r, op.reg[1]);
    let (order, goes_on) = order(e, source, nans);
    e.set_status(order_flags(order));
    if goes_on {
        pop(e, after);
    }
    Ok(Go::Next)
}

fn fxam(e: &mut Env<'_>, _op: &Op) -> Done {
    wait_for_errors(e)?;
    let bits = e.r.x87_bits(0);
    let value = Float::unpack_extended(bits);
    let class = if e.r.is_x87_empty(0) {
        C3 | C0
    } else {
        match value.class {
            Class::Unsupported => 0,
            Class::QuietNan | Class::SignallingNan => C0,
            Class::Infinity => C2 | C0,
            Class::Zero => C3,
            Class::Finite if value.is_denormal => C3 | C2,
            Class::Finite => C2,
        }
    };
    let sign = if bits >> 79 & 1 != 0 { C1 } else { 0 };
    e.r.x87_status = e.r.x87_status & !(C0 | C1 | C2 | C3) | class | sign;
    Ok(Go::Next)
}

fn move_top(e: &mut Env<'_>, by: u16) -> Done {
    wait_for_errors(e)?;
    e.r.set_x87_c1(false);
    e.r.set_x87_top(e.r.x87_top().wrapping_add(by));
    Ok(Go::Next)
}

fn ffree(e: &mut Env<'_>, op: &Op) -> Done {
    wait_for_errors(e)?;
    e.r.set_x87_empty(op.reg[0]);
    Ok(Go::Next)
}

fn fnop(e: &mut Env<'_>, _op: &Op) -> Done {
    wait_for_errors(e)?;
    Ok(Go::Next)
}

/// mm registers are not modelled, so this only empties the stack.
fn emms(e: &mut Env<'_>, _op: &Op) -> Done {
    wait_for_errors(e)?;
    e.r.x87_tag = 0xffff;
    e.r.set_x87_top(0);
    Ok(Go::Next)
}

pub(super) static TABLE: Table = &[
    one!(Fld, fld),
    one!(Fild, fild),
    one!(Fst, |e, op| fst(e, op, After::Keep)),
    one!(Fstp, |e, op| fst(e, op, After::Pop)),
    one!(Fist, |e, op| fist(e, op, Truncate::No, After::Keep)),
    one!(Fistp, |e, op| fist(e, op, Truncate::No, After::Pop)),
    one!(Fisttp, |e, op| fist(e, op, Truncate::Yes, After::Pop)),
    one!(Fxch, fxch),
    one!(Fadd, |e, op| real(e, op, soft_float::add, (Operands::Plain, After::Keep))),
    one!(Faddp, |e, op| real(e, op, soft_float::add, (Operands::Plain, After::Pop))),
    one!(Fiadd, |e, op| integer(e, op, soft_float::add, Operands::Plain)),
    one!(Fmul, |e, op| real(e, op, soft_float::mul, (Operands::Plain, After::Keep))),
    one!(Fmulp, |e, op| real(e, op, soft_float::mul, (Operands::Plain, After::Pop))),
    one!(Fimul, |e, op| integer(e, op, soft_float::mul, Operands::Plain)),
    one!(Fsub, |e, op| real(e, op, soft_float::sub, (Operands::Plain, After::Keep))),
    one!(Fsubp, |e, op| real(e, op, soft_float::sub, (Operands::Plain, After::Pop))),
    one!(Fisub, |e, op| integer(e, op, soft_float::sub, Operands::Plain)),
    one!(Fsubr, |e, op| real(e, op, soft_float::sub, (Operands::Reversed, After::Keep))),
    one!(Fsubrp, |e, op| real(e, op, soft_float::sub, (Operands::Reversed, After::Pop))),
    one!(Fisubr, |e, op| integer(e, op, soft_float::sub, Operands::Reversed)),
    one!(Fdiv, |e, op| real(e, op, soft_float::div, (Operands::Plain, After::Keep))),
    one!(Fdivp, |e, op| real(e, op, soft_float::div, (Operands::Plain, After::Pop))),
    one!(Fidiv, |e, op| integer(e, op, soft_float::div, Operands::Plain)),
    one!(Fdivr, |e, op| real(e, op, soft_float::div, (Operands::Reversed, After::Keep))),
    one!(Fdivrp, |e, op| real(e, op, soft_float::div, (Operands::Reversed, After::Pop))),
    one!(Fidivr, |e, op| integer(e, op, soft_float::div, Operands::Reversed)),
    one!(Fsqrt, |e, _| unary(e, soft_float::sqrt)),
    one!(Frndint, |e, _| unary(e, |value, _, env| soft_float::round_to_integral(value, env))),
    one!(Fabs, |e, _| change_sign(e, |bits| bits & !(1 << 79))),
    one!(Fchs, |e, _| change_sign(e, |bits| bits ^ 1 << 79)),
    one!(Fcom, |e, op| fcom(e, op, NanCompare::Signalling, After::Keep)),
    one!(Fcomp, |e, op| fcom(e, op, NanCompare::Signalling, After::Pop)),
    one!(Fcompp, |e, op| fcom(e, op, NanCompare::Signalling, After::PopTwice)),
    one!(Fucom, |e, op| fcom(e, op, NanCompare::Quiet, After::Keep)),
    one!(Fucomp, |e, op| fcom(e, op, NanCompare::Quiet, After::Pop)),
    one!(Fucompp, |e, op| fcom(e, op, NanCompare::Quiet, After::PopTwice)),
    one!(Ficom, |e, op| ficom(e, op, After::Keep)),
    one!(Ficomp, |e, op| ficom(e, op, After::Pop)),
    one!(Ftst, ftst),
    one!(Fcomi, |e, op| fcomi(e, op, NanCompare::Signalling, After::Keep)),
    one!(Fcomip, |e, op| fcomi(e, op, NanCompare::Signalling, After::Pop)),
    one!(Fucomi, |e, op| fcomi(e, op, NanCompare::Quiet, After::Keep)),
    one!(Fucomip, |e, op| fcomi(e, op, NanCompare::Quiet, After::Pop)),
    one!(Fxam, fxam),
    one!(Fld1, |e, _| exact(e, 0x3fff_8000_0000_0000_0000)),
    one!(Fldz, |e, _| exact(e, 0)),
    // The constants with more bits than fit, rounded down; the last argument says what is nearer.
    one!(Fldpi, |e, _| constant(e, 0x4000_c90f_daa2_2168_c234, true)),
    one!(Fldl2t, |e, _| constant(e, 0x4000_d49a_784b_cd1b_8afe, false)),
    one!(Fldl2e, |e, _| constant(e, 0x3fff_b8aa_3b29_5c17_f0bb, true)),
    one!(Fldlg2, |e, _| constant(e, 0x3ffd_9a20_9a84_fbcf_f798, true)),
    one!(Fldln2, |e, _| constant(e, 0x3ffe_b172_17f7_d1cf_79ab, true)),
    one!(Fincstp, |e, _| move_top(e, 1)),
    one!(Fdecstp, |e, _| move_top(e, 7)),
    one!(Ffree, ffree),
    one!(Fnop, fnop),
    one!(Wait, fnop),
    one!(Emms, emms),
];
