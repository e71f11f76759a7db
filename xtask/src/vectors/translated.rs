//! The translator against the interpreter, on the recorded vectors and on the very random cases
//! that the interpreter and the host CPU agree about.
//!
//! A case is moved to the kernel half for this: the interpreter runs it in both places.

use std::path::Path;

use super::Args;
use super::generator::Generator;
use super::lines_run;
use super::pair::{Manner, Pair, move_registers, move_targets};
use super::random_run::random_case;
use super::templates::Templates;
use super::workers::{Counts, Shard};

/// Differences shown.
const SHOWN: u64 = 5;

/// Runs the recorded vectors, with the registers of AVX-512 and without them; `None` where there is
/// no translator.
pub(crate) fn lines(folder: &Path) -> anyhow::Result<Option<Counts>> {
    let Some(mut pair) = Pair::new()? else { return Ok(None) };
    let manner = Manner { is_page_fresh: true, ..Manner::default() };
    let mut counts = Counts::default();
    let lines = lines_run::all(folder)?;
    let both =
        [true, false].into_iter().flat_map(|is_wide| lines.iter().map(move |l| (is_wide, l)));
    for (is_wide, (place, line)) in both {
        pair.allow_wide_registers(is_wide)?;
        let mut case = line.case.clone();
        move_targets(&mut case);
        move_registers(&mut case.before);
        let found = pair.compare(&case, &manner)?;
        if found.is_empty() {
            counts.agree += 1;
        } else {
            counts.differ += 1;
            println!("{place}: {}\n  {}", line.text, found.join("\n  "));
        }
    }
    Ok(Some(counts))
}

/// Runs a shard of the random cases.
pub(crate) fn shard(args: &Args, shard: Shard) -> anyhow::Result<Counts> {
    let Some(mut pair) = Pair::new()? else { anyhow::bail!("there is no translator here") };
    let mut generator =
        Generator::new(Templates::find_named(cpu::is_modelled, &args.only)?, cpu::is_modelled);
    let mut counts = Counts::default();
    for number in shard.cases(args.first, args.count) {
        pair.prepare(number)?;
        let (mut case, is_program, _) = random_case(&mut generator, args, number);
        if !is_program {
            move_targets(&mut case);
        }
        move_registers(&mut case.before);
        let found = pair.compare(&case, &Manner::default())?;
        if found.is_empty() {
            counts.agree += 1;
            continue;
        }
        counts.differ += 1;
        if counts.differ <= SHOWN {
            println!("translated case {number}: {:02x?}\n  {}", case.code, found.join("\n  "));
        }
    }
    Ok(counts)
}
