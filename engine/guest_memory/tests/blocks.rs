//! Blocks: where they lie, what surrounds them, how they end, and that all of it repeats.

use std::collections::BTreeMap;

use guest_memory::{
    AccessKind, Accessor, Arena, ArenaId, Block, BlockSpec, ByteState, Exhausted, FreeError,
    GuestAddr, GuestMemory, Limits, Near, Objection, PAGE_BYTES, Perms, Provenance, Reason,
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

const BASE: GuestAddr = GuestAddr(0xffff_fa80_0000_0000);
const RW: Perms = Perms::READ.union(Perms::WRITE);

fn memory(frames: u32, blocks: u32) -> GuestMemory {
    GuestMemory::new(Limits { frames, blocks, spaces: 1 })
}

fn arena(memory: &mut GuestMemory, pages: u64, quarantine_bytes: u64) -> ArenaId {
    let size_bytes = pages * PAGE_BYTES;
    memory.create_arena(Arena { base: BASE, size_bytes, perms: RW, quarantine_bytes })
}

fn spec(size_bytes: u64) -> BlockSpec {
    BlockSpec {
        size_bytes,
        align_bytes: 16,
        red_zone_bytes: 16,
        defined_as: None,
        fill: 0xcd,
        provenance: Provenance { kind: 1, tag: 2, who: GuestAddr(3), when: 4 },
    }
}

const FREED: Provenance = Provenance { kind: 5, tag: 6, who: GuestAddr(7), when: 8 };

fn reason(memory: &GuestMemory, at: GuestAddr) -> Option<Reason> {
    memory.check(Accessor::Supervisor, AccessKind::Read, at, 1).err().map(|o| o.reason)
}

fn untouchable(state: ByteState) -> Option<Reason> {
    Some(Reason::Untouchable { state })
}

#[test]
fn sizes_and_alignments() {
    // Size, alignment, red zone; whether the block shares its page.
    let cases = [
        (0, 16, 16, true),
        (1, 1, 16, true),
        (100, 64, 16, true),
        (100, 2048, 16, true),
        (100, 4096, 16, false),
        (100, 16, 5000, false),
        (4064, 16, 16, true),
        (4065, 16, 16, false),
        (4096, 16, 16, false),
        (10000, 16, 64, false),
    ];
    let mut m = memory(64, 64);
    let arena = arena(&mut m, 1000, 0);
    for (size_bytes, align_bytes, red_zone_bytes, is_small) in cases {
        let spec = BlockSpec { align_bytes, red_zone_bytes, ..spec(size_bytes) };
        let at = m.allocate(arena, spec).expect("room");
        assert!(at.0.is_multiple_of(align_bytes), "{spec:?}");
        let end = at.add(size_bytes);
        let is_in_page = at.page_offset() + size_bytes <= PAGE_BYTES;
        assert!(is_in_page || at.page_offset() == 0, "{spec:?}");
        assert_eq!(m.undefined(at, size_bytes).map_or(0, |u| u.1), size_bytes);
        let is_whole = size_bytes > 0 && size_bytes.is_multiple_of(PAGE_BYTES);
        let expected = if is_whole {
            Some(Reason::NotMapped { arena: Some(arena) })
        } else {
            untouchable(ByteState::RED_ZONE)
        };
        assert_eq!(reason(&m, end), expected, "{spec:?}");
        if is_small {
            assert_eq!(reason(&m, GuestAddr(at.0 - 1)), untouchable(ByteState::RED_ZONE));
        } else {
            assert_eq!(at.page_offset(), 0);
            assert_eq!(
                reason(&m, GuestAddr(at.0 - 1)),
                Some(Reason::NotMapped { arena: Some(arena) })
            );
        }
    }
}

#[test]
fn contents() {
    let mut m = memory(16, 16);
    let arena = arena(&mut m, 100, 0);
    let undefined = m.allocate(arena, spec(40)).expect("room");
    let zeroed = m.allocate(arena, BlockSpec { defined_as: Some(9), ..spec(40) }).expect("room");
    let mut bytes = [0; 40];
    m.read(Accessor::Supervisor, undefined, &mut bytes).expect("touchable");
    assert_eq!(bytes, [0xcd; 40]);
    m.read(Accessor::Supervisor, zeroed, &mut bytes).expect("touchable");
    assert_eq!(bytes, [9; 40]);
    assert_eq!(m.undefined(zeroed, 40), None);
}

#[test]
fn freeing() {
    let mut m = memory(64, 64);
    let arena = arena(&mut m, 1000, 1 << 20);
    let small = m.allocate(arena, spec(40)).expect("room");
    let large = m.allocate(arena, spec(5000)).expect("room");
    let expected =
        Block { base: small, size_bytes: 40, arena, allocated: spec(0).provenance, freed: None };
    assert_eq!(m.block(small), Some(expected));
    assert_eq!(m.block(small.add(1)), None);
    let inside = Near::Inside { block: expected, offset_bytes: 8 };
    assert_eq!(m.free(small.add(8), FREED), Err(FreeError::NotABlock { near: Some(inside) }));
    assert_eq!(m.free(GuestAddr::NULL, FREED), Err(FreeError::NotABlock { near: None }));
    let freed = Block { freed: Some(FREED), ..expected };
    assert_eq!(m.free(small, FREED), Ok(freed));
    assert_eq!(m.block(small), None);
    assert_eq!(m.free(small, FREED), Err(FreeError::AlreadyFreed { block: freed }));
    assert_eq!(reason(&m, small), untouchable(ByteState::FREED));
    assert_eq!(m.near(small.add(39)), Some(Near::Inside { block: freed, offset_bytes: 39 }));
    m.free(large, FREED).expect("live");
    assert_eq!(reason(&m, large.add(4999)), untouchable(ByteState::FREED));
    assert_eq!(m.live_blocks(), Vec::new());
}

#[test]
fn near_in_zones_and_guards() {
    let mut m = memory(64, 64);
    let arena = arena(&mut m, 1000, 1 << 20);
    let first = m.allocate(arena, spec(20)).expect("room");
    let second = m.allocate(arena, spec(20)).expect("room");
    let large = m.allocate(arena, spec(4097)).expect("room");
    let larger = m.allocate(arena, spec(8192)).expect("room");
    let name = |near: Option<Near>| match near? {
        Near::Inside { block, offset_bytes } => Some((block.base, 0, offset_bytes)),
        Near::Before { block, distance_bytes } => Some((block.base, -1, distance_bytes)),
        Near::After { block, distance_bytes } => Some((block.base, 1, distance_bytes)),
    };
    let cases = [
        (first.0 - 16, Some((first, -1, 16))),
        (first.0 - 17, None),
        (first.0, Some((first, 0, 0))),
        (first.0 + 19, Some((first, 0, 19))),
        (first.0 + 20, Some((first, 1, 0))),
        (second.0 - 1, Some((second, -1, 1))),
        (second.0 + 47, Some((second, 1, 27))),
        (second.0 + 48, None),
        (large.0 - 1, Some((large, -1, 1))),
        (large.0 + 4096, Some((large, 0, 4096))),
        (large.0 + 8191, Some((large, 1, 4094))),
        (large.0 + 8192, Some((large, 1, 4095))),
        (larger.0 - 4096, Some((larger, -1, 4096))),
        (larger.0 - 4097, Some((large, 1, 2 * 4096 - 4097 + 4096 - 1))),
        (larger.0 + 8192, Some((larger, 1, 0))),
        (larger.0 + 8192 + 4096, None),
        (BASE.0 - 1, None),
    ];
    for (at, expected) in cases {
        assert_eq!(name(m.near(GuestAddr(at))), expected, "{at:#x}");
    }
    // A second mapping of the frame, as an MDL makes one.
    let mapping = m.mapping(first).expect("mapped");
    let alias = GuestAddr(0xffff_fb00_0000_0000);
    m.map_frames(alias, &[mapping.frame], 0, PAGE_BYTES, RW).expect("free");
    assert_eq!(name(m.near(alias.add(first.page_offset() + 3))), Some((first, 0, 3)));
}

#[test]
fn quarantine_is_first_in_first_out() {
    let mut m = memory(64, 64);
    // Room for three blocks of 64 bytes with their red zones.
    let arena = arena(&mut m, 1000, 3 * 96);
    let blocks: Vec<GuestAddr> =
        (0..5).map(|_| m.allocate(arena, spec(64)).expect("room")).collect();
    for block in &blocks {
        m.free(*block, FREED).expect("live");
    }
    let states: Vec<_> = blocks.iter().map(|block| reason(&m, *block)).collect();
    let (gone, kept) = (untouchable(ByteState::UNALLOCATED), untouchable(ByteState::FREED));
    assert_eq!(states, [gone, gone, kept, kept, kept]);
    assert_eq!(blocks.first().and_then(|block| m.near(*block)), None);
}

#[test]
fn pages_are_given_back() {
    let mut m = memory(8, 1000);
    let arena = arena(&mut m, 100, 0);
    let mut seen = BTreeMap::new();
    // Far more than 8 frames or 100 pages in all.
    for round in 0..500u64 {
        let small = m.allocate(arena, spec(200)).expect("room");
        let large = m.allocate(arena, spec(3 * PAGE_BYTES)).expect("room");
        m.free(large, FREED).expect("live");
        m.free(small, FREED).expect("live");
        *seen.entry(large).or_insert(0) += 1;
        assert_eq!(reason(&m, large), Some(Reason::NotMapped { arena: Some(arena) }), "{round}");
    }
    assert!(seen.len() > 10, "fresh addresses come first");
    assert!(seen.values().any(|count| *count > 1), "then addresses are used again");
}

#[test]
fn limits_empty_the_quarantine_first() {
    let too_many = |size_bytes| Err(Exhausted { size_bytes });
    let mut m = memory(4, 3);
    let arena = arena(&mut m, 1000, 1 << 30);
    for _ in 0..20 {
        let block = m.allocate(arena, spec(4 * PAGE_BYTES)).expect("room");
        m.free(block, FREED).expect("live");
    }
    for size_bytes in [5 * PAGE_BYTES, u64::MAX, u64::MAX - 40, 1 << 40] {
        assert_eq!(m.allocate(arena, spec(size_bytes)), too_many(size_bytes));
    }
    let live: Vec<GuestAddr> = (0..3).map(|_| m.allocate(arena, spec(8)).expect("room")).collect();
    assert_eq!(m.allocate(arena, spec(8)), too_many(8));
    m.free(live[0], FREED).expect("live");
    m.allocate(arena, spec(8)).expect("the freed block makes room");
    let mut m = memory(1000, 1000);
    let arena = self::arena(&mut m, 5, 0);
    assert_eq!(m.allocate(arena, spec(3 * PAGE_BYTES)), too_many(3 * PAGE_BYTES));
    m.allocate(arena, spec(2 * PAGE_BYTES)).expect("a guard, two pages, a guard");
}

#[test]
fn pinned_frames_survive_their_block() {
    let mut m = memory(8, 8);
    let arena = arena(&mut m, 100, 0);
    let block = m.allocate(arena, spec(PAGE_BYTES)).expect("room");
    m.write(Accessor::Supervisor, block, b"kept").expect("touchable");
    let frame = m.mapping(block).expect("mapped").frame;
    m.pin(frame);
    m.free(block, FREED).expect("live");
    assert_eq!(m.mapping(block), None);
    let alias = GuestAddr(0xffff_fb00_0000_0000);
    m.map_frames(alias, &[frame], 0, PAGE_BYTES, RW).expect("the frame is pinned");
    let mut bytes = [0; 4];
    m.read(Accessor::Machine, alias, &mut bytes).expect("mapped");
    assert_eq!(&bytes, b"kept");
    assert_eq!(reason(&m, alias), untouchable(ByteState::FREED));
    assert_eq!(m.near(alias), None);
    m.unmap(alias, PAGE_BYTES);
    m.unpin(frame);
    assert!(m.map_frames(alias, &[frame], 0, PAGE_BYTES, RW).is_err(), "given back");
}

/// Granules that compilers' string routines load whole.
#[test]
fn vector_loads_past_a_block() {
    // Size and front of the block's page are fixed by the layout: the block starts 16 bytes into
    // its page, the next one 32 bytes behind its rounded end.
    let cases = [
        // size, offset from base, length, undefined from this byte on
        (10, 0, 16, Some(10)),
        (26, 16, 16, Some(10)),
        (26, 0, 16, Some(16)),
        // Not aligned to its size.
        (26, 8, 16, Some(16)),
        (26, 12, 16, None),
        // Shorter than 16 bytes.
        (10, 8, 8, None),
        // Wholly outside.
        (16, 16, 16, None),
        // 32 bytes, aligned, from the front red zone into the block; the block is at 16 in its
        // page.
        (40, -16, 32, Some(0)),
        (10, -16, 32, Some(0)),
        // Aligned 64 bytes that also reach the next block's red zone without reaching that block.
        (10, -16, 64, None),
    ];
    for (size_bytes, offset, len, defined) in cases {
        let mut m = memory(8, 8);
        let arena = arena(&mut m, 100, 1 << 20);
        let at = m.allocate(arena, BlockSpec { defined_as: Some(1), ..spec(size_bytes) });
        let at = at.expect("room");
        assert_eq!(at.page_offset(), 16);
        m.allocate(arena, spec(64)).expect("room");
        let from = GuestAddr(at.0.wrapping_add_signed(offset));
        let mut bytes = vec![0; len];
        let mut masks = vec![0; len];
        let who = Accessor::Supervisor;
        let loaded = m.load_slow(who, from, &mut bytes, &mut masks, false);
        assert_eq!(loaded.is_ok(), defined.is_some(), "{size_bytes} {offset} {len}: {loaded:?}");
        let is_inside = |index: i64| {
            u64::try_from(offset + index).is_ok_and(|offset_bytes| offset_bytes < size_bytes)
        };
        if loaded.is_ok() {
            for (index, mask) in (0..).zip(&masks) {
                assert_eq!(*mask, if is_inside(index) { 0 } else { 0xff });
            }
        }
        let stored = m.store_slow(who, from, &bytes, &[], false);
        let is_all_inside = (0..).zip(&bytes).all(|(index, _)| is_inside(index));
        assert_eq!(stored.is_ok(), is_all_inside, "stores never overhang");
        m.free(at, FREED).expect("live");
        assert!(m.load_slow(who, from, &mut bytes, &mut masks, false).is_err());
    }
}

#[test]
fn objections_name_the_first_byte() {
    let mut m = memory(8, 8);
    let arena = arena(&mut m, 100, 0);
    let block = m.allocate(arena, spec(4100)).expect("room");
    let access = (Accessor::Supervisor, AccessKind::Write, GuestAddr(block.0 + 4000), 500);
    let expected = Objection {
        address: access.2,
        size_bytes: 500,
        kind: AccessKind::Write,
        at: block.add(4100),
        reason: Reason::Untouchable { state: ByteState::RED_ZONE },
    };
    assert_eq!(m.check(access.0, access.1, access.2, access.3), Err(expected));
}

#[derive(Clone, Debug)]
enum Op {
    Allocate { size_bytes: u64, align_bytes: u64, red_zone_bytes: u64 },
    Free { index: usize },
    Capture,
    Restore { index: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![4 => 0..300u64, 1 => 3900..4200u64, 1 => 0..20_000u64];
    let align = prop_oneof![4 => Just(16u64), 1 => (0..13u32).prop_map(|log| 1 << log)];
    let zone = prop_oneof![4 => Just(16u64), 1 => 16..200u64];
    prop_oneof![
        8 => (size, align, zone).prop_map(|(size_bytes, align_bytes, red_zone_bytes)| {
            Op::Allocate { size_bytes, align_bytes, red_zone_bytes }
        }),
        6 => any::<usize>().prop_map(|index| Op::Free { index }),
        1 => Just(Op::Capture),
        1 => any::<usize>().prop_map(|index| Op::Restore { index }),
    ]
}

/// Runs operations that neither capture nor restore, and returns all answers.
fn run(m: &mut GuestMemory, arena: ArenaId, ops: &[Op]) -> Vec<String> {
    let mut answers = Vec::new();
    for op in ops {
        match op {
            Op::Allocate { size_bytes, align_bytes, red_zone_bytes } => {
                let (align_bytes, red_zone_bytes) = (*align_bytes, *red_zone_bytes);
                let spec = BlockSpec { align_bytes, red_zone_bytes, ..spec(*size_bytes) };
                answers.push(format!("{:?}", m.allocate(arena, spec)));
            }
            Op::Free { index } => {
                let live = m.live_blocks();
                if let Some(block) = index.checked_rem(live.len()).and_then(|i| live.get(i)) {
                    answers.push(format!("{:?}", m.free(block.base, FREED)));
                }
            }
            Op::Capture | Op::Restore { .. } => {}
        }
    }
    answers
}

/// Everything that can be seen of the arena.
fn picture(m: &GuestMemory, pages: u64) -> Vec<String> {
    let mut seen: Vec<String> = m.live_blocks().iter().map(|block| format!("{block:?}")).collect();
    for at in (BASE.0..BASE.0 + pages * PAGE_BYTES).step_by(16) {
        let at = GuestAddr(at);
        seen.push(format!("{:?} {:?} {:?}", m.mapping(at), reason(m, at), m.near(at)));
    }
    seen
}

/// Live blocks lie apart, and exactly their bytes may be touched.
fn check_ground(m: &GuestMemory) {
    let mut last = 0;
    for block in m.live_blocks() {
        assert!(block.base.0 >= last + 32 || block.base.page_offset() == 0, "{block:?}");
        last = block.base.0 + block.size_bytes;
        let who = Accessor::Supervisor;
        assert_eq!(m.check(who, AccessKind::Write, block.base, block.size_bytes), Ok(()));
        for outside in [block.base.0 - 1, last] {
            assert!(reason(m, GuestAddr(outside)).is_some(), "{block:?}");
            let near = m.near(GuestAddr(outside));
            assert!(matches!(near, Some(Near::Before { .. } | Near::After { .. })), "{near:?}");
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_blocks(
        ops in prop::collection::vec(op(), 1..80),
        tail in prop::collection::vec(op(), 1..30),
        quarantine_bytes in prop_oneof![Just(0u64), 0..20_000u64],
    ) {
        let pages = 60;
        let mut m = memory(40, 30);
        let arena = arena(&mut m, pages, quarantine_bytes);
        let mut snapshots = Vec::new();
        for op in &ops {
            match op {
                Op::Capture => snapshots.push((m.capture(), picture(&m, pages))),
                Op::Restore { index } => {
                    let chosen = index.checked_rem(snapshots.len());
                    if let Some((snapshot, seen)) = chosen.and_then(|i| snapshots.get(i)) {
                        m.restore(snapshot);
                        assert_eq!(&picture(&m, pages), seen);
                    }
                }
                _ => {
                    run(&mut m, arena, std::slice::from_ref(op));
                }
            }
            check_ground(&m);
        }
        // What follows a capture follows its restore too, addresses included.
        let snapshot = m.capture();
        let first = run(&mut m, arena, &tail);
        let seen = picture(&m, pages);
        m.restore(&snapshot);
        assert_eq!(run(&mut m, arena, &tail), first);
        assert_eq!(picture(&m, pages), seen);
        // Nothing is left behind when all blocks are gone.
        for block in m.live_blocks() {
            m.free(block.base, FREED).expect("live");
        }
        let mapped = (0..pages).filter(|page| m.mapping(BASE.add(page * PAGE_BYTES)).is_some());
        assert!(quarantine_bytes > 0 || mapped.count() <= 1);
    }
}
