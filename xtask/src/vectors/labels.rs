//! Soundness of the labels: no bit that changes with an undefined bit may be called defined.
//!
//! A random case runs with some bits of its registers, flags and memory undefined, then again with
//! other values of these bits. All outputs that differ must be labelled. Needs no host CPU. Stops
//! of the processor at an undefined decision are passed; what comes after them may differ, so such
//! cases are not compared.

use anyhow::{anyhow, bail};
use cpu::{Clock, Exit, Grant, Processor, Registers, Undefined};
use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};
use iced_x86::{Code, Decoder, DecoderOptions, OpKind};

use super::Args;
use super::case::{CODE, CODE_BYTES, Case, PAD, READ_ONLY_BYTES, WINDOW, WINDOW_BYTES};
use super::compare::{GPR_NAMES, compares_strings};
use super::generator::{END, Generator};
use super::line;
use super::random::Random;
use super::templates::Templates;

/// Lies shown.
const SHOWN: u64 = 10;
/// The six flags that labels are kept for.
const STATUS: u64 = 0x8d5;
/// The conditions and the flags of exceptions in the x87 status word.
const X87_STATUS: u16 = 0x473f;

/// Runs `count` cases; returns how many are sound and how many are not.
pub(crate) fn check(args: &Args, count: u64) -> anyhow::Result<(u64, u64)> {
    let mut templates = Templates::find(cpu::is_modelled);
    templates.list.retain(|(code, _)| follows_labels(*code));
    let mut generator = Generator::new(templates, cpu::is_modelled);
    let mut machine = Machine::new()?;
    let (mut sound, mut lies) = (0, 0);
    for number in 0..count {
        let mut random = Random::new(args.seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ number);
        let case = if random.chance(30) {
            generator.program(&mut random)
        } else {
            generator.single(&mut random)
        };
        let mut case = case;
        case.before.is_user = false;
        // Unmasked exceptions would make values decide about faults.
        case.before.mxcsr = 0x1f80;
        case.before.x87_control |= 0x3f;
        let open = Open::random(&mut random);
        let Some(found) = machine.compare(&case, &open, &mut random)? else { continue };
        if found.is_empty() {
            sound += 1;
            continue;
        }
        lies += 1;
        if lies <= SHOWN {
            println!("label case {number}: {}", line::disassemble(&case));
            for lie in found {
                println!("  {lie}");
            }
        }
    }
    Ok((sound, lies))
}

/// MXCSR and the system state have no labels.
fn follows_labels(code: Code) -> bool {
    !format!("{code:?}").contains("mxcsr")
}

/// Which bits are undefined before.
#[derive(Debug)]
struct Open {
    registers: Undefined,
    /// Bytes of the window: offset, count.
    bytes: Vec<(usize, usize)>,
}

impl Open {
    fn random(random: &mut Random) -> Self {
        let mut registers = Undefined::default();
        for slot in &mut registers.gpr {
            *slot = mask(random);
        }
        for slot in &mut registers.xmm {
            *slot = u128::from(mask(random)) | u128::from(mask(random)) << 64;
        }
        for slot in &mut registers.x87 {
            *slot = u128::from(mask(random)) | u128::from(mask(random) & 0xffff) << 64;
        }
        registers.x87_status = (random.next() & random.next()) as u16 & X87_STATUS;
        registers.rflags = random.next() & random.next() & STATUS;
        let ranges = random.below(6);
        let bytes = (0..ranges)
            .map(|_| {
                (random.below(WINDOW_BYTES as u64 - 64) as usize, 1 + random.below(48) as usize)
            })
            .collect();
        Self { registers, bytes }
    }

    /// Gives the undefined bits other values.
    fn vary(&self, case: &Case, random: &mut Random) -> Case {
        let mut other = case.clone();
        for (value, mask) in other.before.gpr.iter_mut().zip(self.registers.gpr) {
            *value ^= random.next() & mask;
        }
        for (value, mask) in other.before.xmm.iter_mut().zip(self.registers.xmm) {
            *value ^= (u128::from(random.next()) << 64 | u128::from(random.next())) & mask;
        }
        for (value, mask) in other.before.x87.iter_mut().zip(self.registers.x87) {
            *value ^= (u128::from(random.next()) << 64 | u128::from(random.next())) & mask;
        }
        other.before.x87_status ^= random.next() as u16 & self.registers.x87_status;
        other.before.rflags ^= random.next() & self.registers.rflags;
        for (at, count) in &self.bytes {
            for byte in other.memory.iter_mut().skip(*at).take(*count) {
                *byte = random.next() as u8;
            }
        }
        other
    }
}

fn mask(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => 1 << random.below(64),
        1 => 0xff << random.below(57),
        2 => random.next() & random.next(),
        _ => 0,
    }
}

struct Machine {
    memory: GuestMemory,
    processor: Processor,
}

/// State after a run, with labels.
struct After {
    registers: Registers,
    open: Undefined,
    memory: Vec<u8>,
    open_bytes: Vec<u8>,
}

impl Machine {
    fn new() -> anyhow::Result<Self> {
        let mut memory = GuestMemory::new(Limits { frames: 64, blocks: 16, spaces: 2 });
        let space = memory.create_space()?;
        memory.set_space(Some(space));
        let defined = ByteState::DEFINED;
        let window = WINDOW_BYTES as u64;
        let code = Perms::READ | Perms::EXECUTE;
        memory.map(GuestAddr(CODE), CODE_BYTES, code, defined, PAD)?;
        memory.map(GuestAddr(WINDOW), window, Perms::READ | Perms::WRITE, defined, 0)?;
        memory.map(GuestAddr(WINDOW + window), READ_ONLY_BYTES, Perms::READ, defined, 0)?;
        Ok(Self { memory, processor: Processor::new(END..CODE + CODE_BYTES) })
    }

    /// Compares two runs; `None` if there is nothing to compare.
    fn compare(
        &mut self,
        case: &Case,
        open: &Open,
        random: &mut Random,
    ) -> anyhow::Result<Option<Vec<String>>> {
        let Some(one) = self.run(case, open, Grant::None)? else { return Ok(None) };
        let mut found = Vec::new();
        for _ in 0..2 {
            let other = open.vary(case, random);
            match self.run(&other, open, Grant::Undefined)? {
                Some(other) => lies(&one, &other, &mut found),
                // The first run was told that nothing undefined decides, so this one must end
                // alike.
                None if !may_end_otherwise(case) => found.push("another ending".to_owned()),
                None => {}
            }
        }
        found.sort();
        found.dedup();
        Ok(Some(found))
    }

    /// Runs to the end; `None` if something undefined decides or the case faults. The grant is for
    /// repeated comparisons: one that ends in one run at an undefined bit goes on in another.
    fn run(&mut self, case: &Case, open: &Open, more: Grant) -> anyhow::Result<Option<After>> {
        let failed = |objection| anyhow!("the window cannot be used: {objection:?}");
        let machine = Accessor::Machine;
        self.memory.write(machine, GuestAddr(case.address), &case.code).map_err(failed)?;
        let window = case.memory.as_slice();
        self.memory.write(machine, GuestAddr(WINDOW), window).map_err(failed)?;
        for (at, count) in &open.bytes {
            let at = GuestAddr(WINDOW + *at as u64);
            self.memory.set_state(at, *count as u64, ByteState::UNDEFINED, None);
        }
        let mut registers = case.before.clone();
        registers.undefined = Some(Box::new(open.registers.clone()));
        let mut clock = Clock { events: 0, limit_events: u64::MAX };
        let mut grant = Grant::None;
        loop {
            let exit = self.processor.step(&mut registers, &mut self.memory, &mut clock, grant);
            grant = Grant::None;
            match exit {
                Exit::UndefinedDecides { is_address: false }
                    if more == Grant::Undefined && compares_at(case, registers.rip) =>
                {
                    grant = more;
                }
                Exit::Stepped if (case.address..END).contains(&registers.rip) => {}
                Exit::Stepped | Exit::Trap(_) => break,
                Exit::Fault(_) | Exit::UndefinedDecides { .. } | Exit::Unsupported { .. } => {
                    return Ok(None);
                }
                other => bail!("an unexpected exit: {other:?}"),
            }
        }
        let open = registers.undefined.take().map(|open| *open).unwrap_or_default();
        let mut memory = vec![0; WINDOW_BYTES];
        let mut open_bytes = vec![0; WINDOW_BYTES];
        for (chunk, at) in memory.chunks_mut(64).zip((WINDOW..).step_by(64)) {
            let first = (at - WINDOW) as usize;
            let mask = open_bytes.get_mut(first..first + 64).unwrap_or_default();
            self.memory.load_slow(machine, GuestAddr(at), chunk, mask, true).map_err(failed)?;
        }
        Ok(Some(After { registers, open, memory, open_bytes }))
    }
}

/// Whether the instruction at an address compares strings.
fn compares_at(case: &Case, rip: u64) -> bool {
    let code = usize::try_from(rip - case.address).ok().and_then(|at| case.code.get(at..));
    let mut decoder = Decoder::new(64, code.unwrap_or_default(), DecoderOptions::NONE);
    compares_strings(decoder.decode().mnemonic())
}

/// An unlabelled fault is possible where the hardware faults on a value: division, and a
/// mask of bytes to store.
fn may_end_otherwise(case: &Case) -> bool {
    let mut decoder = Decoder::with_ip(64, &case.code, case.address, DecoderOptions::NONE);
    let mut may_differ = false;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let name = format!("{:?}", instruction.mnemonic());
        may_differ |= name.ends_with("div") || name.ends_with("Div") || name == "Maskmovdqu";
        // A comparison that an undefined bit ends goes on in the other run, and may fault there.
        may_differ |= compares_strings(instruction.mnemonic());
        may_differ |=
            (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::NearBranch64);
    }
    may_differ
}

/// Bits that differ although they are labelled defined.
fn lies(one: &After, other: &After, found: &mut Vec<String>) {
    let mut lie = |name: &str, bits: u128| {
        if bits != 0 {
            found.push(format!("{name}: bits {bits:x} differ and are labelled defined"));
        }
    };
    let (a, b) = (&one.registers, &other.registers);
    for (i, name) in GPR_NAMES.iter().enumerate() {
        lie(name, ((a.gpr[i] ^ b.gpr[i]) & !one.open.gpr[i]).into());
    }
    for i in 0..16 {
        lie(&format!("xmm{i}"), (a.xmm[i] ^ b.xmm[i]) & !one.open.xmm[i]);
    }
    for i in 0..8 {
        lie(&format!("r{i} of x87"), (a.x87[i] ^ b.x87[i]) & !one.open.x87[i]);
    }
    let fsw = (a.x87_status ^ b.x87_status) & !one.open.x87_status;
    lie("fsw", fsw.into());
    lie("rflags", ((a.rflags ^ b.rflags) & STATUS & !one.open.rflags).into());
    lie("rip", (a.rip ^ b.rip).into());
    for (at, (x, y)) in one.memory.iter().zip(&other.memory).enumerate() {
        lie(&format!("[{:x}]", WINDOW + at as u64), u128::from((x ^ y) & !one.open_bytes[at]));
    }
}
