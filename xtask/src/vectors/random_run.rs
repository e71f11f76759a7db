//! One worker's share of the random cases.

use std::collections::BTreeMap;

use iced_x86::{Code, Decoder, DecoderOptions, Formatter, NasmFormatter};

use super::Args;
use super::case::{CODE, CODE_BYTES, Case, Ending, Outcome, is_harmless};
use super::compare::{self, GPR_NAMES, Ignore, differences};
use super::generator::Generator;
use super::guest::{Guest, Mode};
use super::host::Host;
use super::random::Random;
use super::templates::Templates;
use super::workers::{Counts, Shard};

/// Differences shown per instruction; the others are only counted.
const SHOWN_PER_CODE: u64 = 2;
/// Of 100 cases so many are programs.
const PROGRAMS_PERCENT: u64 = 15;

/// Runs a shard of the cases, and prints differences.
pub(crate) fn shard(args: &Args, shard: Shard) -> anyhow::Result<Counts> {
    let mut worker = Worker::new(args)?;
    for number in shard.cases(args.first, args.count) {
        worker.case(number)?;
    }
    Ok(worker.finish())
}

/// The case with a number, whether it is a program, and what else may be decided about it.
pub(crate) fn random_case(
    generator: &mut Generator,
    args: &Args,
    number: u64,
) -> (Case, bool, Random) {
    let mut random = Random::new(args.seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number);
    let is_program = random.chance(PROGRAMS_PERCENT) && args.only.is_empty();
    let case =
        if is_program { generator.program(&mut random) } else { generator.single(&mut random) };
    (case, is_program, random)
}

struct Worker<'a> {
    args: &'a Args,
    generator: Generator,
    host: Host,
    guest: Guest,
    agree: u64,
    differ: BTreeMap<String, u64>,
    not_run: BTreeMap<String, u64>,
}

impl<'a> Worker<'a> {
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        let templates = Templates::find_named(cpu::is_modelled, &args.only)?;
        Ok(Self {
            args,
            generator: Generator::new(templates, cpu::is_modelled),
            host: Host::new()?,
            guest: Guest::new()?,
            agree: 0,
            differ: BTreeMap::new(),
            not_run: BTreeMap::new(),
        })
    }

    fn case(&mut self, number: u64) -> anyhow::Result<()> {
        let (case, is_program, mut random) = random_case(&mut self.generator, self.args, number);
        let mode = random.pick(&[Mode::Run, Mode::Step, Mode::Careful]);
        if self.args.trace {
            show(&format!("case {number} ({mode:?})"), &case, &[], None);
        }
        let guest = self.guest.run(&case, mode)?;
        let first = Decoder::with_ip(64, &case.code, case.address, DecoderOptions::NONE).decode();
        let name = if is_program { "program".into() } else { format!("{:?}", first.code()) };
        if let Some(why) = not_for_the_host(&guest, is_program) {
            *self.not_run.entry(format!("{name}: {why}")).or_default() += 1;
            return Ok(());
        }
        if is_program {
            self.modes_agree(number, &case, &guest)?;
        }
        let host = self.host.run(&case);
        let ignore = if is_program {
            Ignore::after_program(&case, &host)
        } else {
            Ignore::after(&first, &case, &host)
        };
        let found = differences(&host, &guest, &ignore);
        if found.is_empty() {
            self.agree += 1;
            return Ok(());
        }
        let seen = self.differ.entry(name).or_default();
        *seen += 1;
        if *seen <= SHOWN_PER_CODE {
            show(
                &format!("case {number} ({mode:?}) differs"),
                &case,
                &found,
                Some((&host, &guest)),
            );
        }
        Ok(())
    }

    /// Blocks and single steps must give the same, to the last undefined flag, or runs could not be
    /// repeated.
    fn modes_agree(&mut self, number: u64, case: &Case, one: &Outcome) -> anyhow::Result<()> {
        for mode in [Mode::Run, Mode::Step] {
            let other = self.guest.run(case, mode)?;
            let found = differences(one, &other, &Ignore::default());
            if !found.is_empty() {
                *self.differ.entry(format!("a program in {mode:?}")).or_default() += 1;
                show(&format!("case {number} differs in {mode:?}"), case, &found, None);
            }
        }
        Ok(())
    }

    fn finish(&self) -> Counts {
        for (name, count) in &self.not_run {
            println!("not run on the host: {count} of {name}");
        }
        for (name, count) in &self.differ {
            println!("{count} differences: {name}");
        }
        Counts { agree: self.agree, differ: self.differ.values().sum() }
    }
}

/// Why a case must not run natively. Single instructions were checked when they were made.
pub(crate) fn not_for_the_host(guest: &Outcome, is_program: bool) -> Option<String> {
    match &guest.ending {
        Ending::Other(why) => Some(why.split(['{', '(']).next().unwrap_or("").trim().to_owned()),
        Ending::Page { at, .. } if is_program && !is_harmless(*at, 1) => {
            Some("an access elsewhere".into())
        }
        _ if !may_go_to(guest.after.rip) => Some("a jump elsewhere".into()),
        _ => None,
    }
}

/// The code page, or where the fetch is sure to fault.
fn may_go_to(rip: u64) -> bool {
    (CODE..CODE + CODE_BYTES).contains(&rip) || is_harmless(rip, 16)
}

pub(crate) fn show(
    title: &str,
    case: &Case,
    found: &[String],
    outcomes: Option<(&Outcome, &Outcome)>,
) {
    println!("{title}:");
    let mut decoder = Decoder::with_ip(64, &case.code, case.address, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let mut text = String::new();
        NasmFormatter::new().format(&instruction, &mut text);
        let code: Code = instruction.code();
        let start = (instruction.ip() - case.address) as usize;
        let bytes = case.code.get(start..start + instruction.len()).unwrap_or_default();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("  {:x} {hex} {text}  ({code:?})", instruction.ip());
    }
    let r = &case.before;
    let gpr: Vec<String> = GPR_NAMES.iter().zip(r.gpr).map(|(n, v)| format!("{n}={v:x}")).collect();
    println!("  before: {} rflags={:x} user={}", gpr.join(" "), r.rflags, r.is_user);
    let mut named: Vec<u8> = Vec::new();
    let mut decoder = Decoder::new(64, &case.code, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        for operand in 0..instruction.op_count() {
            let register = instruction.op_register(operand);
            if register.is_xmm() {
                named.push(register.number() as u8);
            }
        }
        if compare::is_x87(&instruction) {
            let stack: Vec<String> = r.x87.iter().map(|v| format!("{v:020x}")).collect();
            println!(
                "  x87: fcw={:x} fsw={:x} tag={:x} {}",
                r.x87_control,
                r.x87_status,
                r.x87_tag,
                stack.join(" ")
            );
        }
    }
    for number in named {
        println!("  xmm{number}={:032x} mxcsr={:x}", r.xmm[usize::from(number)], r.mxcsr);
    }
    for line in found {
        println!("  {line}");
    }
    if let Some((host, guest)) = outcomes {
        println!("  host {:?}, guest {:?}", host.ending, guest.ending);
    }
}
