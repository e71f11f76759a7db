//! `cargo xtask blocks`: random blocks in the host CPU, the interpreter and the translator.
//!
//! Native blocks run on the host CPU and in the interpreter, step by step and as a whole; then,
//! moved to the kernel half, in the interpreter and the translator. Free blocks run in both engines
//! only, with undefined and forbidden bytes, with code that changes itself, and with a clock that
//! stops them. A block comes from a seed and its number alone.

mod assemble;
mod generate;

use super::{
    BlocksArgs as Args,
    case::{CODE, CODE_BYTES, Ending},
    compare::{Ignore, differences},
    generator::END,
    guest::{Guest, Mode},
    host::Host,
    pair::{Manner, Pair, move_registers},
    random::Random,
    random_run::{not_for_the_host, show},
    workers::{self, Counts, Shard},
};
use generate::{Block, Blocks};

/// Differences shown.
const SHOWN: u64 = 5;
/// Of native blocks fewer take another way than was meant.
const ASTRAY_PERCENT: u64 = 20;
/// Events of a whole run of a free block.
const LIMIT_EVENTS: u64 = 4000;
/// The engines run code that ends so far behind the start of a page: the longer half of it begins
/// in the page before.
const BEHIND_PAGE: u64 = 0x180;

/// Runs the blocks; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(shard) = &args.shard {
        let shard = Shard::parse(shard)?;
        workers::report(match args.with.as_str() {
            "host" => on_host(args, shard)?,
            _ => translated(args, shard)?,
        });
        return Ok(());
    }
    let mut sum = Counts::default();
    for (with, is_possible) in [("host", Host::IS_PRESENT), ("translator", Pair::is_possible())] {
        if !is_possible {
            println!("blocks: not compared with the {with}, which this computer does not have");
            continue;
        }
        let Counts { agree, differ } = workers::run(&of_workers(args, with))?;
        println!("blocks: {agree} agree between {with} and interpreter, {differ} differ");
        sum.agree += agree;
        sum.differ += differ;
    }
    println!("{} passed, {} failed", sum.agree, sum.differ);
    anyhow::ensure!(sum.differ == 0, "{} blocks differ", sum.differ);
    Ok(())
}

fn of_workers(args: &Args, with: &str) -> Vec<String> {
    let Args { count, seed, first, .. } = args;
    let all = format!("blocks --with {with} --count {count} --seed {seed} --first {first}");
    all.split(' ').map(str::to_owned).collect()
}

fn generated(args: &Args, blocks: &mut Blocks, number: u64) -> Block {
    let mut random = Random::new(args.seed.wrapping_mul(0xe703_7ed1_a0b4_28db) ^ number);
    let mut block = blocks.block(&mut random);
    block.case.before.is_user = false;
    block
}

/// The native blocks of a shard, in the interpreter and on the host CPU.
fn on_host(args: &Args, shard: Shard) -> anyhow::Result<Counts> {
    let (mut blocks, mut guest, mut host) = (Blocks::new(), Guest::new()?, Host::new()?);
    let mut counts = Counts::default();
    let (mut astray, mut faults) = (0, 0);
    for number in shard.cases(args.first, args.count) {
        let block = generated(args, &mut blocks, number);
        if !block.is_native {
            continue;
        }
        let case = &block.case;
        let stepped = guest.run(case, Mode::Step)?;
        // The host runs only what was generated.
        let is_astray = guest.trail().iter().any(|at| !block.starts.contains(at));
        if is_astray || not_for_the_host(&stepped, true).is_some() {
            astray += 1;
            continue;
        }
        let whole = guest.run(case, Mode::Run)?;
        let mut found = differences(&stepped, &whole, &Ignore::default());
        let native = host.run(case);
        let ignore = Ignore::after_program(case, &native);
        found.extend(differences(&native, &stepped, &ignore));
        faults += u64::from(native.ending != Ending::Done);
        if found.is_empty() {
            counts.agree += 1;
            continue;
        }
        counts.differ += 1;
        if counts.differ <= SHOWN {
            show(&format!("block {number} differs"), case, &found, Some((&native, &stepped)));
        }
    }
    let all = counts.agree + counts.differ + astray;
    println!("{all} native blocks: {faults} fault, {astray} take another way and are left out");
    anyhow::ensure!(astray * 100 <= all * ASTRAY_PERCENT + 1000, "too many blocks are left out");
    Ok(counts)
}

/// All blocks of a shard, in the interpreter and in the translator.
fn translated(args: &Args, shard: Shard) -> anyhow::Result<Counts> {
    let shift = CODE + CODE_BYTES + BEHIND_PAGE - END;
    let Some(mut pair) = Pair::shifted(shift)? else {
        anyhow::bail!("code cannot be translated here")
    };
    let mut blocks = Blocks::new();
    let mut counts = Counts::default();
    for number in shard.cases(args.first, args.count) {
        pair.prepare(number)?;
        let Block {
            mut case,
            undefined,
            closed,
            stack,
            slice_events,
            steps,
            rounds,
            is_native,
            ..
        } = generated(args, &mut blocks, number);
        move_registers(&mut case.before);
        let slice_events = slice_events.min(LIMIT_EVENTS);
        let manner = Manner {
            undefined,
            closed,
            stack,
            slice_events,
            steps,
            serves: !is_native,
            limit_events: LIMIT_EVENTS,
            passes_undefined: !is_native,
            is_page_fresh: false,
        };
        let mut found = Vec::new();
        for _ in 0..rounds {
            found.extend(pair.compare(&case, &manner)?);
        }
        if found.is_empty() {
            counts.agree += 1;
            continue;
        }
        counts.differ += 1;
        if counts.differ <= SHOWN {
            show(&format!("block {number} differs"), &case, &found, None);
            println!("  {manner:x?}");
        }
    }
    let reached = pair.fast.engine.counts();
    println!(
        "translated: {} blocks of code, {} entries, {} steps of the interpreter between",
        reached.blocks, reached.entries, reached.steps
    );
    Ok(counts)
}
