//! Prints what accesses, blocks and snapshots cost, in nanoseconds each.
#![expect(clippy::print_stdout, reason = "this program is a measurement")]
#![expect(clippy::disallowed_types, reason = "this program is a measurement")]

use std::{hint::black_box, time::Instant};

use guest_memory::{
    Accessor, Arena, BlockSpec, ByteState, GuestAddr, GuestMemory, Limits, PAGE_BYTES, Perms,
    Provenance,
};

const BASE: GuestAddr = GuestAddr(0xffff_f800_0000_0000);
const PAGES: u32 = 64;
const BYTES: u64 = PAGES as u64 * PAGE_BYTES;
const WORDS: u32 = PAGES * 512;
const RW: Perms = Perms::READ.union(Perms::WRITE);
const WHO: Accessor = Accessor::Supervisor;

fn main() {
    let mut m = GuestMemory::new(Limits { frames: 4096, blocks: 65536, spaces: 4 });
    m.map(BASE, BYTES, RW, ByteState::DEFINED, 1).expect("free");
    plain(&mut m);
    slow(&mut m);
    snapshots(&mut m);
}

/// Runs `act`, which does `count` things, and prints the best of some rounds.
fn timed(name: &str, count: u32, mut act: impl FnMut()) {
    let round = || {
        let start = Instant::now();
        act();
        start.elapsed().as_secs_f64()
    };
    let best = std::iter::repeat_with(round).take(7).fold(f64::MAX, f64::min);
    println!("{name:40} {:8.2} ns", best * 1e9 / f64::from(count));
}

fn words() -> impl Iterator<Item = u64> {
    (BASE.0..BASE.0 + BYTES).step_by(8)
}

fn pages() -> impl Iterator<Item = u64> {
    (BASE.0..BASE.0 + BYTES).step_by(4096)
}

fn plain(m: &mut GuestMemory) {
    timed("nothing", WORDS, || {
        for at in words() {
            black_box(at);
        }
    });
    timed("load u64", WORDS, || {
        for at in words() {
            black_box(m.load::<u64>(false, black_box(at)).expect("plain"));
        }
    });
    timed("store u64", WORDS, || {
        for at in words() {
            m.store::<u64>(false, black_box(at), at).expect("plain");
        }
    });
    timed("store u128", WORDS, || {
        for at in words().map(|at| at & !15) {
            m.store::<u128>(false, black_box(at), 1).expect("plain");
        }
    });
    timed("raise, load, lower, load", WORDS, || {
        for at in words() {
            m.set_pageable_allowed(false);
            black_box(m.load::<u64>(false, at).expect("plain"));
            m.set_pageable_allowed(true);
            black_box(m.load::<u64>(false, at).expect("plain"));
        }
    });
}

fn slow(m: &mut GuestMemory) {
    timed("first store u64 to undefined", WORDS, || {
        m.set_state(BASE, BYTES, ByteState::UNDEFINED, None);
        for at in words() {
            m.store::<u64>(false, at, at).expect("plain");
        }
    });
    timed("forget 64 bytes and store them", WORDS / 8, || {
        for at in words().step_by(8) {
            m.forget(at, 64);
            for word in 0..8 {
                m.store::<u64>(false, at + word * 8, at).expect("plain");
            }
        }
    });
    timed("store u64 across pages", PAGES - 1, || {
        for at in pages().skip(1) {
            m.store::<u64>(false, at - 4, at).expect("plain");
        }
    });
    timed("load u64 after a flush", PAGES, || {
        let space = m.create_space().expect("free");
        m.set_space(Some(space));
        for at in pages() {
            black_box(m.load::<u64>(false, at).expect("plain"));
        }
        m.destroy_space(space);
    });
    timed("checked read of 64 bytes", WORDS, || {
        let mut into = [0; 64];
        for _ in 0..WORDS {
            m.read(WHO, black_box(BASE), &mut into).expect("mapped");
        }
    });
    timed("copy_units, bytes: 4096 bytes", 100, || {
        for _ in 0..100 {
            assert_eq!(m.copy_units(WHO, (BASE.add(65536 + 123), BASE), 4096, 1), 4096);
        }
    });
    timed("copy_units, bytes: 16 bytes", 100, || {
        for _ in 0..100 {
            assert_eq!(m.copy_units(WHO, (BASE.add(65536), BASE), 16, 1), 16);
        }
    });
    timed("fill_units, bytes: 4096 bytes", 100, || {
        for _ in 0..100 {
            assert_eq!(m.fill_units(WHO, BASE, &[0], 4096), 4096);
        }
    });
}

fn snapshots(m: &mut GuestMemory) {
    let arena = m.create_arena(Arena {
        base: GuestAddr(0xffff_fa00_0000_0000),
        size_bytes: 1 << 36,
        perms: RW,
        quarantine_bytes: 1 << 16,
    });
    let spec = BlockSpec {
        size_bytes: 100,
        align_bytes: 16,
        red_zone_bytes: 16,
        defined_as: None,
        fill: 0xcd,
        provenance: Provenance::default(),
    };
    let cycle = |m: &mut GuestMemory, count: u32| {
        for _ in 0..count {
            let block = m.allocate(arena, spec).expect("room");
            m.free(block, Provenance::default()).expect("live");
        }
    };
    timed("allocate and free 100 bytes", 10000, || cycle(m, 10000));
    let start = m.capture();
    let touch = |m: &mut GuestMemory| {
        for at in pages().take(32) {
            m.store::<u64>(false, at, at).expect("plain");
        }
    };
    timed("restore, nothing changed", 1, || m.restore(&start));
    timed("restore, 32 pages stored to, per page", 32 * 100, || {
        for _ in 0..100 {
            touch(m);
            m.restore(&start);
        }
    });
    timed("capture and restore the same, per page", 32 * 100, || {
        for _ in 0..100 {
            touch(m);
            let middle = m.capture();
            m.restore(&start);
            drop(middle);
        }
    });
    timed("restore after 1 allocation and free", 100, || {
        for _ in 0..100 {
            cycle(m, 1);
            m.restore(&start);
        }
    });
    timed("restore after 50 of them", 100, || {
        for _ in 0..100 {
            cycle(m, 50);
            m.restore(&start);
        }
    });
}
