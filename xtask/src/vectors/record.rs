//! Records vectors from the host CPU: a few cases of every instruction, with only the state that
//! matters.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
};

use super::case::{Case, Ending, Outcome};
use super::compare::{Ignore, differences, is_x87};
use super::generator::Generator;
use super::guest::{Guest, Mode};
use super::host::Host;
use super::line;
use super::random::Random;
use super::random_run::not_for_the_host;
use super::templates::Templates;
use super::{Args, allow};

/// Cases of each instruction that complete.
const COMPLETE: usize = 4;
/// Cases of each instruction that fault.
const FAULTING: usize = 1;
const ATTEMPTS: u32 = 60;

/// Writes one file per family of instructions.
pub(crate) fn record(args: &Args, folder: &Path) -> anyhow::Result<()> {
    let mut recorder =
        Recorder { host: Host::new()?, guest: Guest::new()?, info: InstructionInfoFactory::new() };
    let mut generator = Generator::new(Templates::find(cpu::is_modelled), cpu::is_modelled);
    let mut files: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let codes = generator.codes();
    for (index, code) in codes.iter().enumerate() {
        let mut random = Random::new(args.seed ^ (*code as u64) << 32);
        let (mut complete, mut faulting) = (0, 0);
        for _ in 0..ATTEMPTS {
            let Some(case) = generator.single_of(index, &mut random) else { continue };
            let Some((ending, first)) = recorder.probe(&case, *code)? else { continue };
            let (count, limit) = match ending {
                Ending::Done => (&mut complete, COMPLETE),
                _ => (&mut faulting, FAULTING),
            };
            if *count == limit {
                continue;
            }
            let Some((case, outcome, ignore)) = recorder.reduce(case, &first)? else { continue };
            *count += 1;
            let line = line::print(&case, &outcome, &ignore);
            files.entry(family(&first)).or_default().push(line);
        }
    }
    for (family, mut lines) in files {
        lines.dedup();
        let head = format!(
            "# Recorded from an x86-64 processor by `cargo xtask vectors --record`: {family}.\n"
        );
        let path = folder.join(format!("{family}.ins"));
        std::fs::write(&path, head + lines.join("\n").as_str() + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {} vectors", path.display(), lines.len());
    }
    Ok(())
}

struct Recorder {
    host: Host,
    guest: Guest,
    info: InstructionInfoFactory,
}

impl Recorder {
    /// How a case ends, if it is one of the instruction asked for and can be recorded.
    fn probe(&mut self, case: &Case, code: Code) -> anyhow::Result<Option<(Ending, Instruction)>> {
        let first = Decoder::with_ip(64, &case.code, case.address, DecoderOptions::NONE).decode();
        if first.code() != code {
            return Ok(None);
        }
        let Some(outcome) = self.run(case, &first)? else { return Ok(None) };
        let ignore = Ignore::after(&first, case, &outcome);
        Ok((!ignore.everything).then_some((outcome.ending, first)))
    }

    /// Sets to zero whatever does not change what the instruction does.
    fn reduce(
        &mut self,
        mut case: Case,
        first: &Instruction,
    ) -> anyhow::Result<Option<(Case, Outcome, Ignore)>> {
        case.before.is_user = false;
        let Some(outcome) = self.run(&case, first)? else { return Ok(None) };
        let mut best = (case, outcome);
        let plain = cpu::Registers::new();
        for i in 0..16 {
            self.attempt(&mut best, first, |case| case.before.gpr[i] = 0)?;
            self.attempt(&mut best, first, |case| case.before.xmm[i] = 0)?;
        }
        for i in 0..8 {
            self.attempt(&mut best, first, |case| case.before.x87[i] = 0)?;
        }
        self.attempt(&mut best, first, |case| case.before.rflags = plain.rflags)?;
        self.attempt(&mut best, first, |case| case.before.mxcsr = plain.mxcsr)?;
        self.attempt(&mut best, first, |case| case.before.x87_control = plain.x87_control)?;
        self.attempt(&mut best, first, |case| case.before.x87_status = plain.x87_status)?;
        self.attempt(&mut best, first, |case| case.before.x87_tag = plain.x87_tag)?;
        self.reduce_memory(&mut best, first)?;
        let (case, outcome) = best;
        let ignore = Ignore::after(first, &case, &outcome);
        Ok(Some((case, outcome, ignore)))
    }

    fn reduce_memory(
        &mut self,
        best: &mut (Case, Outcome),
        first: &Instruction,
    ) -> anyhow::Result<()> {
        let mut ranges = Vec::from([(0, best.0.memory.len())]);
        while let Some((start, end)) = ranges.pop() {
            let range = start..end;
            let is_zero = best.0.memory[range.clone()].iter().all(|byte| *byte == 0);
            if is_zero
                || self.attempt(best, first, |case| case.memory[range.clone()].fill(0))?
                || range.len() == 1
            {
                continue;
            }
            let middle = start + range.len() / 2;
            ranges.extend([(start, middle), (middle, end)]);
        }
        Ok(())
    }

    /// Keeps a change if it is safe to run and the instruction still does the same.
    fn attempt(
        &mut self,
        best: &mut (Case, Outcome),
        first: &Instruction,
        change: impl Fn(&mut Case),
    ) -> anyhow::Result<bool> {
        let mut case = best.0.clone();
        change(&mut case);
        let Some(outcome) = self.run(&case, first)? else { return Ok(false) };
        if outcome.ending != best.1.ending || outcome.after.rip != best.1.after.rip {
            return Ok(false);
        }
        let next = (case, outcome);
        let is_same = effects(best, first) == effects(&next, first);
        if is_same {
            *best = next;
        }
        Ok(is_same)
    }

    /// Runs on the host if that is safe and the interpreter agrees.
    fn run(&mut self, case: &Case, first: &Instruction) -> anyhow::Result<Option<Outcome>> {
        if !allow::is_harmless_here(&mut self.info, &case.before, first) {
            return Ok(None);
        }
        let guest = self.guest.run(case, Mode::Step)?;
        if not_for_the_host(&guest, false).is_some() {
            return Ok(None);
        }
        let host = self.host.run(case);
        let ignore = Ignore::after(first, case, &host);
        Ok(differences(&host, &guest, &ignore).is_empty().then_some(host))
    }
}

/// What an instruction did: the right side of its line.
fn effects((case, outcome): &(Case, Outcome), first: &Instruction) -> String {
    let ignore = Ignore::after(first, case, outcome);
    line::effects(case, outcome, &ignore)
}

/// The file that an instruction belongs to.
fn family(instruction: &Instruction) -> &'static str {
    let name = format!("{:?}", instruction.mnemonic()).to_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let is_xmm = (0..instruction.op_count()).any(|n| instruction.op_register(n).is_xmm());
    if instruction.is_string_instruction() {
        "string"
    } else if is_x87(instruction) || instruction.mnemonic() == Mnemonic::Wait {
        "x87"
    } else if is_xmm && starts(&["mov", "lddqu", "mask"]) {
        "sse_move"
    } else if is_xmm && starts(&["p", "and", "or", "xor", "shuf", "unpck"]) {
        "sse_int"
    } else if is_xmm || starts(&["ldmxcsr", "stmxcsr"]) {
        "sse_float"
    } else if instruction.flow_control() != FlowControl::Next || instruction.is_stack_instruction()
    {
        "control"
    } else if starts(&["sh", "sa", "ro", "rc"]) {
        "shift"
    } else if starts(&["bt", "bs", "popcnt", "tzcnt", "lzcnt"]) {
        "bits"
    } else if starts(&["mul", "imul", "div", "idiv"]) {
        "multiply"
    } else if starts(&["cmov", "set"]) {
        "conditional"
    } else {
        "integer"
    }
}
