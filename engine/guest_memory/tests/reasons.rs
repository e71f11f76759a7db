//! Every reason for an objection, by who, how and where.

use guest_memory::{
    AccessKind, Accessor, Arena, ArenaId, ByteState, GuestAddr, GuestMemory, Limits, PAGE_BYTES,
    Perms, Reason,
};

const KERNEL: u64 = 0xffff_f800_0000_0000;
const USER: u64 = 0x1_0000;
const RW: Perms = Perms::READ.union(Perms::WRITE);

/// One page each: plain, read-only, pageable, bounded, red zone in the middle, watched, executable;
/// then user
/// pages: plain, executable.
fn memory() -> GuestMemory {
    let mut m = GuestMemory::new(Limits { frames: 32, blocks: 1, spaces: 1 });
    let space = m.create_space().expect("the first");
    m.set_space(Some(space));
    let user = RW | Perms::USER;
    let pages = [
        (KERNEL, RW),
        (KERNEL + 0x1000, Perms::READ),
        (KERNEL + 0x2000, RW | Perms::PAGEABLE),
        (KERNEL + 0x4000, RW),
        (KERNEL + 0x5000, RW | Perms::WATCHED),
        (KERNEL + 0x6000, Perms::READ | Perms::EXECUTE),
        (USER, user),
        (USER + 0x1000, user | Perms::EXECUTE),
        (0x7fff_ffff_f000, user),
    ];
    for (at, perms) in pages {
        m.map(GuestAddr(at), PAGE_BYTES, perms, ByteState::DEFINED, 0).expect("free");
    }
    let frame = m.mapping(GuestAddr(KERNEL)).expect("mapped").frame;
    m.map_frames(GuestAddr(KERNEL + 0x3000), &[frame], 16, 100, RW).expect("free");
    m.set_state(GuestAddr(KERNEL + 0x4800), 8, ByteState::RED_ZONE, None);
    m.create_arena(Arena {
        base: GuestAddr(KERNEL + 0x10_0000),
        size_bytes: PAGE_BYTES,
        perms: RW,
        quarantine_bytes: 0,
    });
    m.set_pageable_allowed(false);
    m
}

#[test]
fn each_reason() {
    use AccessKind::{Execute, Read, Write};
    use Accessor::{Machine, Supervisor, User};
    let nowhere = Reason::NotMapped { arena: None };
    let arena = Reason::NotMapped { arena: Some(ArenaId(0)) };
    let denied = |perms| Reason::NotPermitted { perms };
    let red_zone = Reason::Untouchable { state: ByteState::RED_ZONE };
    let user = RW | Perms::USER;
    let code = Perms::READ | Perms::EXECUTE;
    // Who, how, address, length; the first byte objected to and why.
    let cases = [
        (Supervisor, Read, KERNEL, 4096, None),
        (Supervisor, Write, KERNEL + 8, 8, None),
        (Supervisor, Read, KERNEL, 0, None),
        (Supervisor, Read, 0x8000_0000_0000, 1, Some((0x8000_0000_0000, Reason::NonCanonical))),
        (User, Read, 0x7fff_ffff_fff8, 9, Some((0x8000_0000_0000, Reason::NonCanonical))),
        (Machine, Read, 1 << 60, 1, Some((1 << 60, Reason::NonCanonical))),
        (Supervisor, Read, 0, 8, Some((0, nowhere))),
        (Machine, Read, KERNEL - 1, 2, Some((KERNEL - 1, nowhere))),
        (Supervisor, Read, USER + 0x1ffc, 8, Some((USER + 0x2000, nowhere))),
        (Supervisor, Read, KERNEL + 0x10_0008, 8, Some((KERNEL + 0x10_0008, arena))),
        (Supervisor, Write, KERNEL + 0xffc, 8, Some((KERNEL + 0x1000, denied(Perms::READ)))),
        (Supervisor, Execute, KERNEL, 8, Some((KERNEL, denied(RW)))),
        (Supervisor, Execute, KERNEL + 0x6000, 8, None),
        (Supervisor, Write, USER, 8, None),
        (User, Write, USER, 8, None),
        (User, Read, KERNEL, 8, Some((KERNEL, denied(RW)))),
        (User, Execute, KERNEL + 0x6000, 1, Some((KERNEL + 0x6000, denied(code)))),
        (User, Execute, USER, 1, Some((USER, denied(user)))),
        (User, Execute, USER + 0x1000, 1, None),
        (
            Supervisor,
            Execute,
            USER + 0x1000,
            1,
            Some((USER + 0x1000, denied(user | Perms::EXECUTE))),
        ),
        (Supervisor, Read, KERNEL + 0x1ffe, 4, Some((KERNEL + 0x2000, Reason::Pageable))),
        (Machine, Write, KERNEL + 0x1ffe, 4, None),
        (Supervisor, Read, KERNEL + 0x3000, 64, Some((KERNEL + 0x3000, Reason::OutsideBounds))),
        (Supervisor, Read, KERNEL + 0x3010, 100, None),
        (Supervisor, Read, KERNEL + 0x3010, 101, Some((KERNEL + 0x3074, Reason::OutsideBounds))),
        (Supervisor, Read, KERNEL + 0x3074, 1, Some((KERNEL + 0x3074, Reason::OutsideBounds))),
        (Machine, Write, KERNEL + 0x3000, 4096, None),
        (Supervisor, Write, KERNEL + 0x47fc, 16, Some((KERNEL + 0x4800, red_zone))),
        (Supervisor, Read, KERNEL + 0x4804, 4, Some((KERNEL + 0x4804, red_zone))),
        (Supervisor, Read, KERNEL + 0x4808, 8, None),
        // Not a block's red zone, so no vector load may overhang.
        (Supervisor, Read, KERNEL + 0x47f0, 32, Some((KERNEL + 0x4800, red_zone))),
        (Machine, Write, KERNEL + 0x4800, 8, None),
        (Supervisor, Read, KERNEL + 0x4ffe, 4, Some((KERNEL + 0x5000, Reason::Watched))),
        // What really objects comes before what only wants to be seen.
        (Supervisor, Write, KERNEL + 0x5ffe, 4, Some((KERNEL + 0x6000, denied(code)))),
        (Machine, Write, KERNEL + 0x5000, 4, None),
    ];
    for (who, kind, at, size_bytes, expected) in cases {
        let mut m = memory();
        let name = format!("{who:?} {kind:?} {at:#x} {size_bytes}");
        let checked = m.check(who, kind, GuestAddr(at), size_bytes);
        assert_eq!(checked.err().map(|o| (o.at.0, o.reason)), expected, "{name}");
        let len = usize::try_from(size_bytes).expect("small");
        let (mut bytes, mut masks) = (vec![0; len], vec![0; len]);
        let slow = match kind {
            Read => m.load_slow(who, GuestAddr(at), &mut bytes, &mut masks, false),
            Write => m.store_slow(who, GuestAddr(at), &bytes, &[], false),
            Execute => continue,
        };
        assert_eq!(slow, checked, "{name}");
    }
}

#[test]
fn the_plain_path_forgets_in_time() {
    let mut m = memory();
    m.set_pageable_allowed(true);
    let pageable = KERNEL + 0x2000;
    assert_eq!(m.load::<u8>(false, pageable), Ok(0));
    m.set_pageable_allowed(false);
    assert!(m.load::<u8>(false, pageable).is_err());
    m.set_pageable_allowed(true);
    assert_eq!(m.store::<u8>(false, pageable, 5), Ok(()));
    assert_eq!(m.load::<u8>(false, pageable), Ok(5));
    m.protect(GuestAddr(pageable), PAGE_BYTES, Perms::READ);
    assert!(m.store::<u8>(false, pageable, 6).is_err());
    m.unmap(GuestAddr(pageable), PAGE_BYTES);
    assert!(m.load::<u8>(false, pageable).is_err());
    assert_eq!(m.load::<u16>(false, USER), Ok(0));
    m.set_space(None);
    assert!(m.load::<u16>(false, USER).is_err());
}

#[test]
fn stores_into_code_are_seen() {
    let mut m = memory();
    let rwx = RW | Perms::EXECUTE;
    let at = GuestAddr(KERNEL + 0x6000);
    m.protect(at, PAGE_BYTES, rwx);
    m.store::<u64>(false, at.0 + 256, 1).expect("plain");
    let mut code = [0; 15];
    assert_eq!(m.fetch(false, at, &mut code), Ok(15));
    let (epoch, version) = (m.code_epoch(), m.code_version(at));
    assert_ne!(version, 0);
    // Data beside the code: another line of 64 bytes.
    assert!(m.store::<u64>(false, at.0 + 256, 2).is_err(), "the engine must know before");
    let who = Accessor::Supervisor;
    m.store_slow(who, at.add(256), &[2], &[], false).expect("writable");
    assert_eq!((m.code_epoch(), m.code_version(at)), (epoch, version));
    let before = m.capture();
    let alias = GuestAddr(KERNEL + 0x8000);
    m.map_frames(alias, &[m.mapping(at).expect("mapped").frame], 0, PAGE_BYTES, RW).expect("free");
    let (epoch, version) = (m.code_epoch(), m.code_version(at));
    m.store_slow(who, alias.add(3), &[0xcc], &[], false).expect("writable");
    assert_ne!(m.code_epoch(), epoch);
    let patched = m.code_version(at);
    assert_ne!(patched, version);
    m.restore(&before);
    assert_ne!(m.code_version(at), patched);
    assert_eq!(m.fetch(false, at, &mut code).map(|_| code), Ok([0; 15]));
    let epoch = m.code_epoch();
    m.unmap(at, PAGE_BYTES);
    assert_eq!(m.code_version(at), 0);
    assert_ne!(m.code_epoch(), epoch);
}

#[test]
fn runs_stop_before_a_whole_unit() {
    use Accessor::{Machine, Supervisor};
    let source = KERNEL + 0x4800 - 12;
    // Who, target, unit; units copied. The red zone starts 12 bytes behind the source.
    let cases = [
        (Supervisor, KERNEL, 1, 12),
        (Supervisor, KERNEL, 8, 1),
        (Machine, KERNEL, 8, 1),
        (Supervisor, KERNEL + 0x1000 - 6, 1, 6),
        (Supervisor, KERNEL + 0x1000 - 6, 4, 1),
        // Through a page whose bounds end 4 bytes behind the target.
        (Supervisor, KERNEL + 0x3000 + 112, 4, 1),
        (Supervisor, KERNEL + 0x3000 + 112, 8, 0),
    ];
    for (who, to, unit_bytes, expected) in cases {
        let mut m = memory();
        m.write(Machine, GuestAddr(source), &[7; 12]).expect("mapped");
        let addresses = (GuestAddr(to), GuestAddr(source));
        let done = m.copy_units(who, addresses, 100, unit_bytes);
        assert_eq!(done, expected, "{who:?} {to:#x} {unit_bytes}");
        let mut copied = [0; 24];
        m.read(Machine, GuestAddr(to), &mut copied).expect("mapped");
        let count = copied.iter().take_while(|byte| **byte == 7).count() as u64;
        assert_eq!(count, done * unit_bytes, "no byte of another unit changed");
    }
    let mut m = memory();
    let pattern = [1, 2, 3, 4];
    assert_eq!(m.fill_units(Supervisor, GuestAddr(KERNEL + 0x1000 - 10), &pattern, 9), 2);
    let mut filled = [0; 10];
    m.read(Machine, GuestAddr(KERNEL + 0x1000 - 10), &mut filled).expect("mapped");
    assert_eq!(filled, [1, 2, 3, 4, 1, 2, 3, 4, 0, 0]);
}
