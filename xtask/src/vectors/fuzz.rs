//! `cargo xtask fuzz-code`: arbitrary bytes as guest code of the translator.
//!
//! The pieces are random programs with damaged bytes, or nothing but noise. Registers point into
//! the guest's window, beside it, and to where the host's own memory would be reached if a base
//! were added to them unchecked. Three things must hold: the process lives, memory of the host and
//! of another machine stays as it was (canaries; around guest pages the windows are reserved and
//! guarded anyway), and the interpreter comes to the same.

use anyhow::{Context, ensure};
use cpu::Registers;
use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};

use super::case::{CODE, Case, WINDOW, WINDOW_BYTES};
use super::generator::Generator;
use super::pair::{MOVED, Manner, Pair, STATUS, move_registers};
use super::random::Random;
use super::templates::Templates;

/// Bytes of each canary of the host: the large ones get mappings of their own.
const CANARY_BYTES: [usize; 5] = [0x1000, 0x4000, 0x2_0000, 0x10_0000, 0x40_0000];
/// Pieces between two looks at the canaries.
const LOOK_EVERY: u64 = 256;
/// Longest piece of noise; behind it the code page holds breakpoints.
const NOISE_BYTES: u64 = 48;
/// Differences shown.
const SHOWN: u64 = 5;
/// The other machine's only page.
const OTHER: GuestAddr = GuestAddr(MOVED + 0x5000_0000);

/// Memory that nothing may touch.
struct Canaries {
    host: Vec<Vec<u8>>,
    other: GuestMemory,
}

/// What a byte of a canary holds.
fn sung(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 24) as u8
}

impl Canaries {
    fn new() -> anyhow::Result<Self> {
        let host = CANARY_BYTES.map(|size_bytes| (0..size_bytes).map(sung).collect());
        let limits = Limits { frames: 8, blocks: 4, spaces: 1 };
        let mut other = GuestMemory::new_shared(limits).context("no shared memory")?;
        other.map(OTHER, 0x1000, Perms::READ | Perms::WRITE, ByteState::DEFINED, 0x5a)?;
        Ok(Self { host: host.into(), other })
    }

    fn are_whole(&self) -> bool {
        let mut page = [0; 0x1000];
        self.other.read(Accessor::Machine, OTHER, &mut page).is_ok()
            && page == [0x5a; 0x1000]
            && self
                .host
                .iter()
                .all(|canary| canary.iter().enumerate().all(|(at, byte)| *byte == sung(at)))
    }

    /// Values that mean a canary if something is added to them: nothing, or a base.
    fn pointers(&self, bases: (u64, u64)) -> Vec<u64> {
        let starts = self.host.iter().map(|canary| canary.as_ptr() as u64 + 64);
        starts.flat_map(|at| [at, at.wrapping_sub(bases.0), at.wrapping_sub(bases.1)]).collect()
    }
}

/// Runs pieces of code; returns how many agree with the interpreter, and how many do not.
pub(super) fn check(seed: u64, first: u64, count: u64) -> anyhow::Result<(u64, u64)> {
    let Some(mut pair) = Pair::new()? else {
        println!("skipped: code cannot be translated here");
        return Ok((0, 0));
    };
    let canaries = Canaries::new()?;
    let pointers = canaries.pointers(pair.fast.engine.bases());
    let mut generator = Generator::new(Templates::find(cpu::is_modelled), cpu::is_modelled);
    let (mut agree, mut differ) = (0, 0);
    for number in first..first + count {
        pair.prepare(number)?;
        let mut random = Random::new(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ number);
        let case = piece(&mut generator, &mut random, &pointers);
        let found =
            pair.compare(&case, &Manner::default()).with_context(|| format!("piece {number}"))?;
        if found.is_empty() {
            agree += 1;
        } else {
            differ += 1;
            if differ <= SHOWN {
                println!("piece {number}: {:02x?}\n  {}", case.code, found.join("\n  "));
            }
        }
        let is_last = number + 1 == first + count;
        if is_last || number.is_multiple_of(LOOK_EVERY) {
            ensure!(canaries.are_whole(), "up to piece {number}: memory of the host has changed");
        }
    }
    let counts = pair.fast.engine.counts();
    println!(
        "{} entries of translated code, {} blocks, {} steps of the interpreter between",
        counts.entries, counts.blocks, counts.steps
    );
    Ok((agree, differ))
}

fn piece(generator: &mut Generator, random: &mut Random, pointers: &[u64]) -> Case {
    let mut case = generator.program(random);
    if random.chance(40) {
        let length = 1 + random.below(NOISE_BYTES);
        case.code = (0..length).map(|_| random.next() as u8).collect();
    } else {
        for _ in 0..random.below(4) {
            let at = random.below(case.code.len().max(1) as u64) as usize;
            let byte = random.next() as u8;
            if let Some(place) = case.code.get_mut(at) {
                *place = byte;
            }
        }
    }
    move_registers(&mut case.before);
    aim(&mut case.before, random, pointers);
    // What a damaged program leaves undefined is not known.
    (case.ignored_flags, case.ignored_at_fault) = (STATUS, STATUS);
    case
}

/// Lets some registers point to where it matters.
fn aim(registers: &mut Registers, random: &mut Random, pointers: &[u64]) {
    for value in &mut registers.gpr {
        if random.chance(50) {
            continue;
        }
        let window = MOVED + WINDOW;
        *value = match random.below(8) {
            0..3 => window + random.below(WINDOW_BYTES as u64),
            3 => window.wrapping_add(random.below(0x4000)).wrapping_sub(0x1000),
            4 | 5 => random.pick(pointers).wrapping_add(random.below(0x100)),
            6 => MOVED + CODE + random.below(0x40),
            _ => random.integer(),
        };
    }
}
