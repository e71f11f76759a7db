//! The text form of a case: one line of `tests/vectors/*.ins`.
//!
//! ```text
//! 10000000 4801d8 "add rax,rbx" rax=1 rbx=ffffffffffffffff => rax=0 fl=CPAZ
//! ```
//!
//! Address, bytes, disassembly, the state before, and what differs after. Numbers are hexadecimal.
//! Before, what is not named is zero (control words: as a thread starts); after, what is not named
//! is as before, except what the instruction leaves undefined. `fl` lists the flags that are set
//! (of C P A Z S O D), `[address]` holds bytes in memory order, `ftw` is the abridged tag byte,
//! `fpr0` to `fpr7` are the x87 registers by physical number, and `fault` says how the instruction
//! ended (de, ud, gp, fp, read@address, write@address).

use std::fmt::Write as _;

use anyhow::{Context, bail};
use cpu::Registers;
use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};

use super::case::{Case, Ending, Outcome, WINDOW, WINDOW_BYTES, abridged_tags, tag_word};
use super::compare::{GPR_NAMES, Ignore};

/// A case and what must become of it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What to run.
    pub case: Case,
    /// The disassembly.
    pub text: String,
    /// The state after.
    pub expected: Outcome,
}

const FLAGS: [(char, u64); 7] = [
    ('C', 1),
    ('P', 1 << 2),
    ('A', 1 << 4),
    ('Z', 1 << 6),
    ('S', 1 << 7),
    ('O', 1 << 11),
    ('D', 1 << 10),
];

/// Disassembles the code of a case.
pub(crate) fn disassemble(case: &Case) -> String {
    let mut text = String::new();
    let mut decoder = Decoder::with_ip(64, &case.code, case.address, DecoderOptions::NONE);
    while decoder.can_decode() {
        if !text.is_empty() {
            text.push_str("; ");
        }
        NasmFormatter::new().format(&decoder.decode(), &mut text);
    }
    text
}

/// Prints a case and its outcome as a line.
pub(crate) fn print(case: &Case, after: &Outcome, ignore: &Ignore) -> String {
    let code: String = case.code.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut line = format!("{:x} {code} \"{}\"", case.address, disassemble(case));
    let mut zero = Registers::new();
    zero.rip = case.address;
    let memory = Box::new([0; WINDOW_BYTES]);
    print_state(&mut line, (&case.before, &case.memory), (&zero, &memory), &[]);
    line.push_str(" =>");
    line.push_str(&effects(case, after, ignore));
    line
}

/// Prints the right side of a line.
pub(crate) fn effects(case: &Case, after: &Outcome, ignore: &Ignore) -> String {
    let mut line = String::new();
    let mut expected = case.before.clone();
    expected.rip = if after.ending == Ending::Done { case.end() } else { case.address };
    let mut state = after.after.clone();
    let undefined = ignore.leaves.rflags;
    state.rflags = state.rflags & !undefined | case.before.rflags & undefined;
    let undefined = ignore.leaves.x87_status;
    state.x87_status = state.x87_status & !undefined | case.before.x87_status & undefined;
    if let Some(register) = ignore.register {
        let number = register.full_register().number();
        state.gpr[number] = case.before.gpr[number];
    }
    print_state(&mut line, (&state, &after.memory), (&expected, &case.memory), &ignore.bytes);
    match &after.ending {
        Ending::Done => {}
        Ending::Page { at, is_write: false } => _ = write!(line, " fault=read@{at:x}"),
        Ending::Page { at, is_write: true } => _ = write!(line, " fault=write@{at:x}"),
        Ending::GeneralProtection => line.push_str(" fault=gp"),
        Ending::DivideError => line.push_str(" fault=de"),
        Ending::InvalidOpcode => line.push_str(" fault=ud"),
        Ending::FloatingPoint => line.push_str(" fault=fp"),
        Ending::Other(why) => _ = write!(line, " fault={why}"),
    }
    line
}

type State<'a> = (&'a Registers, &'a [u8; WINDOW_BYTES]);

/// Prints what of `state` differs from `from`.
fn print_state(line: &mut String, state: State<'_>, from: State<'_>, skip: &[(usize, usize)]) {
    let (r, old) = (state.0, from.0);
    let mut number = |name: &str, value: u128, old: u128| {
        if value != old {
            let _ = write!(line, " {name}={value:x}");
        }
    };
    number("rip", r.rip.into(), old.rip.into());
    for ((name, value), old) in GPR_NAMES.iter().zip(r.gpr).zip(old.gpr) {
        number(name, value.into(), old.into());
    }
    for (i, (value, old)) in r.xmm.iter().zip(old.xmm).enumerate() {
        number(&format!("xmm{i}"), *value, old);
    }
    number("mxcsr", r.mxcsr.into(), old.mxcsr.into());
    number("gs", r.gs_base.into(), old.gs_base.into());
    number("fcw", r.x87_control.into(), old.x87_control.into());
    number("fsw", r.x87_status.into(), old.x87_status.into());
    number("ftw", abridged_tags(r.x87_tag).into(), abridged_tags(old.x87_tag).into());
    for (i, (value, old)) in r.x87.iter().zip(old.x87).enumerate() {
        number(&format!("fpr{i}"), *value, old);
    }
    let visible = FLAGS.iter().fold(0, |mask, (_, bit)| mask | bit);
    if (r.rflags ^ old.rflags) & visible != 0 {
        let set = FLAGS.iter().filter(|(_, bit)| r.rflags & bit != 0).map(|(name, _)| *name);
        let _ = write!(line, " fl={}", set.collect::<String>());
    }
    print_memory(line, state.1, from.1, skip);
}

fn print_memory(
    line: &mut String,
    now: &[u8; WINDOW_BYTES],
    old: &[u8; WINDOW_BYTES],
    skip: &[(usize, usize)],
) {
    let differs = |at: usize| {
        at < WINDOW_BYTES
            && now[at] != old[at]
            && !skip.iter().any(|(first, count)| at.wrapping_sub(*first) < *count)
    };
    if now == old {
        return;
    }
    let mut at = 0;
    while at < WINDOW_BYTES {
        if at % 64 == 0 && now.get(at..at + 64) == old.get(at..at + 64) {
            at += 64;
            continue;
        }
        if !differs(at) {
            at += 1;
            continue;
        }
        // One group goes on over short equal gaps.
        let mut end = at + 1;
        while (end..end + 4).any(differs) {
            end += 1;
        }
        let bytes: String = now[at..end].iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(line, " [{:x}]={bytes}", WINDOW + at as u64);
        at = end;
    }
}

/// Parses a line.
pub(crate) fn parse(line: &str) -> anyhow::Result<Line> {
    let (head, rest) = line.split_once('"').context("no disassembly")?;
    let (text, rest) = rest.split_once('"').context("the disassembly does not end")?;
    let (before, after) = rest.split_once("=>").context("no `=>`")?;
    let mut head = head.split_whitespace();
    let address = hex(head.next().context("no address")?)? as u64;
    let code = bytes(head.next().context("no bytes")?)?;
    let mut registers = Registers::new();
    registers.rip = address;
    let mut memory = Box::new([0; WINDOW_BYTES]);
    for token in before.split_whitespace() {
        apply(token, &mut registers, &mut memory, &mut Ending::Done)?;
    }
    let mut expected =
        Outcome { ending: Ending::Done, after: registers.clone(), memory: memory.clone() };
    for token in after.split_whitespace() {
        apply(token, &mut expected.after, &mut expected.memory, &mut expected.ending)?;
    }
    let names_rip = after.split_whitespace().any(|token| token.starts_with("rip="));
    if expected.ending == Ending::Done && !names_rip {
        expected.after.rip = address + code.len() as u64;
    }
    let case =
        Case { address, code, before: registers, memory, ignored_flags: 0, ignored_at_fault: 0 };
    Ok(Line { case, text: text.to_owned(), expected })
}

fn apply(
    token: &str,
    r: &mut Registers,
    memory: &mut [u8; WINDOW_BYTES],
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let (name, value) = token.split_once('=').with_context(|| format!("no `=` in `{token}`"))?;
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        let at = usize::try_from((hex(address)? as u64).wrapping_sub(WINDOW))?;
        let bytes = bytes(value)?;
        let slot = memory.get_mut(at..at + bytes.len()).context("outside the window")?;
        slot.copy_from_slice(&bytes);
        return Ok(());
    }
    if let Some(number) = GPR_NAMES.iter().position(|gpr| *gpr == name) {
        r.gpr[number] = hex(value)? as u64;
        return Ok(());
    }
    let indexed = |prefix: &str| -> Option<usize> { name.strip_prefix(prefix)?.parse().ok() };
    if let Some(slot) = indexed("xmm").and_then(|i| r.xmm.get_mut(i)) {
        *slot = hex(value)?;
        return Ok(());
    }
    if let Some(slot) = indexed("fpr").and_then(|i| r.x87.get_mut(i)) {
        *slot = hex(value)?;
        return Ok(());
    }
    match name {
        "rip" => r.rip = hex(value)? as u64,
        "mxcsr" => r.mxcsr = hex(value)? as u32,
        "gs" => r.gs_base = hex(value)? as u64,
        "fcw" => r.x87_control = hex(value)? as u16,
        "fsw" => r.x87_status = hex(value)? as u16,
        "ftw" => r.x87_tag = tag_word(hex(value)? as u8),
        "fl" => {
            let all = FLAGS.iter().fold(0, |mask, (_, bit)| mask | bit);
            let set = FLAGS.iter().filter(|(flag, _)| value.contains(*flag));
            r.rflags = r.rflags & !all | set.fold(0, |mask, (_, bit)| mask | bit);
        }
        "fault" => *ending = fault(value)?,
        _ => bail!("unknown name `{name}`"),
    }
    Ok(())
}

fn fault(value: &str) -> anyhow::Result<Ending> {
    Ok(match value.split_once('@') {
        Some(("read", at)) => Ending::Page { at: hex(at)? as u64, is_write: false },
        Some(("write", at)) => Ending::Page { at: hex(at)? as u64, is_write: true },
        None if value == "gp" => Ending::GeneralProtection,
        None if value == "de" => Ending::DivideError,
        None if value == "ud" => Ending::InvalidOpcode,
        None if value == "fp" => Ending::FloatingPoint,
        _ => bail!("unknown fault `{value}`"),
    })
}

fn hex(text: &str) -> anyhow::Result<u128> {
    u128::from_str_radix(text, 16).with_context(|| format!("`{text}` is not hexadecimal"))
}

fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        bail!("`{text}` is not pairs of hexadecimal digits");
    }
    (0..text.len() / 2)
        .map(|i| Ok(u8::from_str_radix(&text[2 * i..2 * i + 2], 16)?))
        .collect::<anyhow::Result<_>>()
        .with_context(|| format!("`{text}` is not hexadecimal"))
}
