//! Random operations on guest memory and on a naive model of it agree, through captures and
//! restores.

#![expect(clippy::indexing_slicing, reason = "a wrong index fails the test")]
#![expect(clippy::cast_possible_truncation, reason = "parts of random numbers are as random")]

mod model;

use guest_memory::{
    AccessKind, Accessor, ByteState, FrameId, GuestAddr, GuestMemory, Limits, Mapping, PAGE_BYTES,
    Perms, Snapshot, SpaceId,
};
use model::{Cell, Model};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

const FRAMES_MAX: u32 = 20;
const SPACES_MAX: u16 = 3;

/// Pages that operations use: a kernel run, the top of both halves, a user run.
const PAGES: [u64; 16] = [
    0xffff_f780_0000_0000,
    0xffff_f780_0000_1000,
    0xffff_f780_0000_2000,
    0xffff_f780_0000_3000,
    0xffff_f780_0000_4000,
    // The same slot of the TLB as the first page.
    0xffff_f780_4000_0000,
    0xffff_f77f_ffff_f000,
    0xffff_ffff_ffff_e000,
    0xffff_ffff_ffff_f000,
    0,
    0x1000,
    0x2000,
    0x3000,
    0x7fff_ffff_e000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
];

#[derive(Clone, Debug)]
enum Op {
    Map { page: usize, pages: u64, perms: Perms, state: ByteState, fill: u8 },
    MapAgain { from: usize, page: usize, first: u16, size_bytes: u64, perms: Perms },
    Unmap { page: usize, pages: u64 },
    Protect { page: usize, pages: u64, perms: Perms },
    CreateSpace,
    DestroySpace { id: u16 },
    SetSpace { id: Option<u16> },
    AllowPageable { is_allowed: bool },
    Pin { page: usize },
    Unpin,
    Load { is_user: bool, at: u64, log_bytes: u32 },
    Store { is_user: bool, at: u64, log_bytes: u32, value: u128 },
    LoadSlow { who: Accessor, at: u64, size_bytes: usize, granted: bool },
    StoreSlow { who: Accessor, at: u64, bytes: Vec<u8>, masks: Vec<u8>, granted: bool },
    Check { who: Accessor, kind: AccessKind, at: u64, size_bytes: u64 },
    Write { who: Accessor, at: u64, bytes: Vec<u8> },
    Fill { who: Accessor, at: u64, byte: u8, size_bytes: u64 },
    Copy { whos: (Accessor, Accessor), to: u64, from: u64, size_bytes: u64 },
    CopyUnits { who: Accessor, to: u64, from: u64, count: u64, unit_bytes: u64 },
    FillUnits { who: Accessor, at: u64, unit: Vec<u8>, count: u64 },
    SetState { at: u64, size_bytes: u64, state: ByteState, fill: Option<u8> },
    Undefined { at: u64, size_bytes: u64 },
    Forget { at: u64, size_bytes: u64 },
    Fetch { is_user: bool, at: u64 },
    Capture,
    Restore { index: usize },
}

fn address() -> impl Strategy<Value = u64> {
    let offset = prop_oneof![0..24u64, 4070..4096u64, 0..4096u64];
    (0..PAGES.len(), offset).prop_map(|(page, offset)| PAGES[page] + offset)
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![0..40u64, 0..9000u64]
}

fn unit_length() -> impl Strategy<Value = u64> {
    (0..4u32).prop_map(|log| 1 << log)
}

/// Two addresses, often close to each other.
fn run_addresses() -> impl Strategy<Value = (u64, u64)> {
    let near = || (address(), 0..40u64).prop_map(|(at, gap)| (at.wrapping_add(gap), at));
    prop_oneof![(address(), address()), near(), near().prop_map(|(to, from)| (from, to))]
}

fn who() -> impl Strategy<Value = Accessor> {
    prop_oneof![Just(Accessor::Supervisor), Just(Accessor::User), Just(Accessor::Machine)]
}

fn perms() -> impl Strategy<Value = Perms> {
    let rw = Perms::READ | Perms::WRITE;
    prop_oneof![
        4 => Just(rw),
        2 => Just(rw | Perms::USER),
        1 => Just(rw | Perms::EXECUTE),
        1 => Just(rw | Perms::PAGEABLE),
        1 => Just(rw | Perms::WATCHED),
        1 => any::<u8>().prop_map(Perms::from_bits_truncate),
    ]
}

fn state() -> impl Strategy<Value = ByteState> {
    prop_oneof![
        3 => Just(ByteState::DEFINED),
        3 => Just(ByteState::UNDEFINED),
        1 => Just(ByteState::PARTLY_DEFINED),
        1 => Just(ByteState::RED_ZONE),
        1 => Just(ByteState::FREED),
    ]
}

fn masked_bytes() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    prop::collection::vec(any::<u8>(), 1..65).prop_flat_map(|bytes| {
        let mask = prop_oneof![2 => Just(0u8), 1 => Just(0xff), 1 => any::<u8>()];
        let len = bytes.len();
        let masks = prop_oneof![Just(Vec::new()), prop::collection::vec(mask, len..=len)];
        (Just(bytes), masks)
    })
}

fn mapping_op() -> impl Strategy<Value = Op> {
    let page = 0..PAGES.len();
    prop_oneof![
        4 => (page.clone(), 1..4u64, perms(), state(), any::<u8>())
            .prop_map(|(page, pages, perms, state, fill)| {
                Op::Map { page, pages, perms, state, fill }
            }),
        2 => (page.clone(), page.clone(), 0..4100u16, 1..5000u64, perms()).prop_map(
            |(from, page, first, size_bytes, perms)| {
                Op::MapAgain { from, page, first, size_bytes, perms }
            }
        ),
        2 => (page.clone(), 1..4u64).prop_map(|(page, pages)| Op::Unmap { page, pages }),
        2 => (page.clone(), 1..3u64, perms())
            .prop_map(|(page, pages, perms)| Op::Protect { page, pages, perms }),
        1 => Just(Op::CreateSpace),
        1 => (0..SPACES_MAX).prop_map(|id| Op::DestroySpace { id }),
        2 => prop::option::weighted(0.8, 0..SPACES_MAX).prop_map(|id| Op::SetSpace { id }),
        2 => any::<bool>().prop_map(|is_allowed| Op::AllowPageable { is_allowed }),
        1 => page.prop_map(|page| Op::Pin { page }),
        1 => Just(Op::Unpin),
        2 => Just(Op::Capture),
        2 => any::<usize>().prop_map(|index| Op::Restore { index }),
    ]
}

fn access_op() -> impl Strategy<Value = Op> {
    let kind =
        prop_oneof![Just(AccessKind::Read), Just(AccessKind::Write), Just(AccessKind::Execute)];
    prop_oneof![
        4 => (any::<bool>(), address(), 0..5u32)
            .prop_map(|(is_user, at, log_bytes)| Op::Load { is_user, at, log_bytes }),
        6 => (any::<bool>(), address(), 0..5u32, any::<u128>()).prop_map(
            |(is_user, at, log_bytes, value)| Op::Store { is_user, at, log_bytes, value }
        ),
        2 => (who(), address(), 1..65usize, any::<bool>()).prop_map(
            |(who, at, size_bytes, granted)| Op::LoadSlow { who, at, size_bytes, granted }
        ),
        3 => (who(), address(), masked_bytes(), any::<bool>()).prop_map(
            |(who, at, (bytes, masks), granted)| Op::StoreSlow { who, at, bytes, masks, granted }
        ),
        1 => (who(), kind, address(), length())
            .prop_map(|(who, kind, at, size_bytes)| Op::Check { who, kind, at, size_bytes }),
        1 => (who(), address(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(who, at, bytes)| Op::Write { who, at, bytes }),
        1 => (who(), address(), any::<u8>(), length())
            .prop_map(|(who, at, byte, size_bytes)| Op::Fill { who, at, byte, size_bytes }),
        2 => ((who(), who()), address(), address(), length())
            .prop_map(|(whos, to, from, size_bytes)| Op::Copy { whos, to, from, size_bytes }),
        3 => (who(), run_addresses(), length(), unit_length()).prop_map(
            |(who, (to, from), size_bytes, unit_bytes)| {
                let count = size_bytes / unit_bytes;
                Op::CopyUnits { who, to, from, count, unit_bytes }
            }
        ),
        1 => (who(), address(), any::<[u8; 8]>(), length(), unit_length()).prop_map(
            |(who, at, unit, size_bytes, unit_bytes)| {
                let unit = unit[..unit_bytes as usize].to_vec();
                Op::FillUnits { who, at, unit, count: size_bytes / unit_bytes }
            }
        ),
        1 => (address(), 1..600u64, state(), any::<Option<u8>>()).prop_map(
            |(at, size_bytes, state, fill)| Op::SetState { at, size_bytes, state, fill }
        ),
        1 => (address(), length()).prop_map(|(at, size_bytes)| Op::Undefined { at, size_bytes }),
        2 => (address(), length()).prop_map(|(at, size_bytes)| Op::Forget { at, size_bytes }),
        2 => (any::<bool>(), address()).prop_map(|(is_user, at)| Op::Fetch { is_user, at }),
    ]
}

/// Code that was fetched once, and the version it had.
#[derive(Clone, Debug)]
struct Fetched {
    at: u64,
    is_user: bool,
    bytes: Vec<u8>,
    version: u64,
}

struct Pair {
    real: GuestMemory,
    model: Model,
    pins: Vec<FrameId>,
    snapshots: Vec<(Snapshot, Model, Vec<FrameId>)>,
    fetched: Vec<Fetched>,
}

impl Pair {
    fn new() -> Self {
        Self {
            real: GuestMemory::new(Limits { frames: FRAMES_MAX, blocks: 8, spaces: SPACES_MAX }),
            model: Model::new(FRAMES_MAX as usize, SPACES_MAX),
            pins: Vec::new(),
            snapshots: Vec::new(),
            fetched: Vec::new(),
        }
    }

    /// Maps some of both halves, so that most accesses find something.
    fn furnish(&mut self) {
        let perms = Perms::READ | Perms::WRITE | Perms::USER;
        let map =
            |page, pages| Op::Map { page, pages, perms, state: ByteState::UNDEFINED, fill: 7 };
        let ops = [Op::CreateSpace, Op::SetSpace { id: Some(0) }, map(0, 4), map(9, 3), map(8, 1)];
        ops.into_iter().for_each(|op| self.run(op));
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Load { .. }
            | Op::Store { .. }
            | Op::LoadSlow { .. }
            | Op::StoreSlow { .. }
            | Op::Forget { .. }
            | Op::Fetch { .. } => self.run_engine(op),
            Op::Check { .. }
            | Op::Write { .. }
            | Op::Fill { .. }
            | Op::Copy { .. }
            | Op::CopyUnits { .. }
            | Op::FillUnits { .. }
            | Op::SetState { .. }
            | Op::Undefined { .. } => self.run_service(op),
            _ => self.run_mapping(op),
        }
    }

    fn run_mapping(&mut self, op: Op) {
        let (real, model) = (&mut self.real, &mut self.model);
        match op {
            Op::Map { page, pages, perms, state, fill } => {
                let at = PAGES[page];
                let expected = model.may_map(at, pages, pages);
                let result = real.map(GuestAddr(at), pages * PAGE_BYTES, perms, state, fill);
                assert_eq!(result, expected);
                for page in (0..pages).filter(|_| result.is_ok()).map(|i| at + i * PAGE_BYTES) {
                    let mapping = real.mapping(GuestAddr(page)).expect("just mapped");
                    model.map_fresh(page, mapping.frame, perms, state, fill);
                }
            }
            Op::MapAgain { from, page, first, size_bytes, perms } => {
                self.map_again((PAGES[from], PAGES[page]), (first, size_bytes), perms);
            }
            Op::Unmap { page, pages } => {
                real.unmap(GuestAddr(PAGES[page]), pages * PAGE_BYTES);
                if model.may_map(PAGES[page], pages, 0) != Err(guest_memory::MapError::BadRange) {
                    model.unmap(PAGES[page], pages);
                }
            }
            Op::Protect { page, pages, perms } => {
                let at = PAGES[page];
                let is_range = at.checked_add(pages * PAGE_BYTES - 1).is_some();
                let expected = is_range && model.protect(at, pages, perms);
                assert_eq!(real.protect(GuestAddr(at), pages * PAGE_BYTES, perms), expected);
            }
            Op::CreateSpace => {
                assert_eq!(real.create_space().ok(), model.create_space().map(SpaceId));
            }
            Op::DestroySpace { id } => {
                real.destroy_space(SpaceId(id));
                model.destroy_space(id);
            }
            Op::SetSpace { id } => {
                real.set_space(id.map(SpaceId));
                model.space = id;
            }
            Op::AllowPageable { is_allowed } => {
                real.set_pageable_allowed(is_allowed);
                model.is_pageable_allowed = is_allowed;
            }
            Op::Pin { page } => {
                if let Some(mapping) = model.mapping(PAGES[page]) {
                    real.pin(mapping.frame);
                    model.pin(mapping.frame);
                    self.pins.push(mapping.frame);
                }
            }
            Op::Unpin => {
                if let Some(frame) = self.pins.pop() {
                    real.unpin(frame);
                    model.release(frame);
                }
            }
            Op::Capture => {
                self.snapshots.push((real.capture(), model.clone(), self.pins.clone()));
            }
            Op::Restore { index } => {
                if let Some((snapshot, saved, pins)) =
                    index.checked_rem(self.snapshots.len()).and_then(|i| self.snapshots.get(i))
                {
                    real.restore(snapshot);
                    *model = saved.clone();
                    self.pins.clone_from(pins);
                }
            }
            _ => unreachable!("not a mapping operation"),
        }
    }

    fn map_again(&mut self, (from, to): (u64, u64), (first, size_bytes): (u16, u64), perms: Perms) {
        let Some(source) = self.model.mapping(from) else { return };
        let frames = [source.frame, self.pins.last().copied().unwrap_or(source.frame)];
        let pages = (u64::from(first) + size_bytes).div_ceil(PAGE_BYTES);
        let frames = frames.get(..usize::try_from(pages).expect("small")).unwrap_or_default();
        let is_fit = first < 4096 && frames.len() as u64 == pages;
        let expected = if is_fit {
            self.model.may_map(to, pages, 0)
        } else {
            Err(guest_memory::MapError::BadRange)
        };
        let result = self.real.map_frames(GuestAddr(to), frames, first, size_bytes, perms);
        // The model has no limit on mappings, and this universe is smaller than it.
        assert_eq!(result, expected);
        if result.is_err() {
            return;
        }
        let end = u64::from(first) + size_bytes;
        for (index, frame) in frames.iter().enumerate() {
            let start = index as u64 * PAGE_BYTES;
            let mapping = Mapping {
                frame: *frame,
                perms,
                low: if index == 0 { first } else { 0 },
                high: u16::try_from((end - start).min(PAGE_BYTES)).expect("a page"),
            };
            self.model.map_frame(to + start, mapping);
        }
    }

    fn run_service(&mut self, op: Op) {
        let (real, model) = (&mut self.real, &mut self.model);
        match op {
            Op::Check { who, kind, at, size_bytes } => {
                let expected = model.vet(who, kind, at, size_bytes, false);
                assert_eq!(real.check(who, kind, GuestAddr(at), size_bytes), expected);
            }
            Op::Write { who, at, bytes } => {
                let expected = model.vet(who, AccessKind::Write, at, bytes.len() as u64, false);
                assert_eq!(real.write(who, GuestAddr(at), &bytes), expected);
                if expected.is_ok() {
                    model.put(at, &bytes, &[]);
                }
            }
            Op::Fill { who, at, byte, size_bytes } => {
                let expected = model.vet(who, AccessKind::Write, at, size_bytes, false);
                assert_eq!(real.fill(who, GuestAddr(at), byte, size_bytes), expected);
                if expected.is_ok() {
                    model.fill_units(Accessor::Machine, at, &[byte], size_bytes, |_| false);
                }
            }
            Op::Copy { whos, to, from, size_bytes } => {
                let expected = model
                    .vet(whos.1, AccessKind::Read, from, size_bytes, false)
                    .and_then(|()| model.vet(whos.0, AccessKind::Write, to, size_bytes, false));
                let (target, source) = ((whos.0, GuestAddr(to)), (whos.1, GuestAddr(from)));
                assert_eq!(real.copy(target, source, size_bytes), expected);
                if expected.is_ok() {
                    let (bytes, masks) =
                        model.get(from, usize::try_from(size_bytes).expect("small"));
                    model.put(to, &bytes, &masks);
                }
            }
            Op::CopyUnits { who, to, from, count, unit_bytes } => {
                let is_code = |at| real.holds_code(GuestAddr(at), 1);
                let expected = model.copy_units(who, (to, from), (count, unit_bytes), is_code);
                let done =
                    real.copy_units(who, (GuestAddr(to), GuestAddr(from)), count, unit_bytes);
                assert_eq!(done, expected);
            }
            Op::FillUnits { who, at, unit, count } => {
                let is_code = |at| real.holds_code(GuestAddr(at), 1);
                let expected = model.fill_units(who, at, &unit, count, is_code);
                assert_eq!(real.fill_units(who, GuestAddr(at), &unit, count), expected);
            }
            Op::SetState { at, size_bytes, state, fill } => {
                let size_bytes = size_bytes.min(u64::MAX - at);
                real.set_state(GuestAddr(at), size_bytes, state, fill);
                model.set_state(at, size_bytes, state, fill);
            }
            Op::Undefined { at, size_bytes } => {
                let size_bytes = size_bytes.min(u64::MAX - at);
                let is_undefined = |byte: &u64| {
                    let cell = model.cell(*byte);
                    cell.is_some_and(|c| c.mask != 0 && c.state == ByteState::DEFINED)
                };
                let all: Vec<u64> =
                    (0..size_bytes).map(|index| at + index).filter(is_undefined).collect();
                let expected = all.first().map(|first| (GuestAddr(*first), all.len() as u64));
                assert_eq!(real.undefined(GuestAddr(at), size_bytes), expected);
            }
            _ => unreachable!("not a service operation"),
        }
    }

    fn run_engine(&mut self, op: Op) {
        let (real, model) = (&mut self.real, &mut self.model);
        match op {
            Op::Load { is_user, at, log_bytes } => {
                let size_bytes = 1usize << log_bytes;
                let is_free = model
                    .vet(ring(is_user), AccessKind::Read, at, size_bytes as u64, false)
                    .is_ok();
                let (bytes, masks) =
                    if is_free { model.get(at, size_bytes) } else { (vec![0], vec![1]) };
                let expected = masks.iter().all(|mask| *mask == 0).then(|| little_endian(&bytes));
                let loaded = match log_bytes {
                    0 => real.load::<u8>(is_user, at).map(u128::from),
                    1 => real.load::<u16>(is_user, at).map(u128::from),
                    2 => real.load::<u32>(is_user, at).map(u128::from),
                    3 => real.load::<u64>(is_user, at).map(u128::from),
                    _ => real.load::<u128>(is_user, at),
                };
                assert_eq!(loaded.ok(), expected);
            }
            Op::Store { is_user, at, log_bytes, value } => {
                let size_bytes = 1usize << log_bytes;
                let vetted =
                    model.vet(ring(is_user), AccessKind::Write, at, size_bytes as u64, false);
                let stored = match log_bytes {
                    0 => real.store(is_user, at, value as u8),
                    1 => real.store(is_user, at, value as u16),
                    2 => real.store(is_user, at, value as u32),
                    3 => real.store(is_user, at, value as u64),
                    _ => real.store(is_user, at, value),
                };
                let is_code = real.holds_code(GuestAddr(at), size_bytes as u64);
                assert_eq!(stored.is_ok(), vetted.is_ok() && !is_code);
                if stored.is_ok() {
                    model.put(at, &value.to_le_bytes()[..size_bytes], &[]);
                }
            }
            Op::LoadSlow { who, at, size_bytes, granted } => {
                let expected = model.vet(who, AccessKind::Read, at, size_bytes as u64, granted);
                let (mut bytes, mut masks) = (vec![0; size_bytes], vec![0; size_bytes]);
                let result = real.load_slow(who, GuestAddr(at), &mut bytes, &mut masks, granted);
                assert_eq!(result, expected);
                if result.is_ok() {
                    assert_eq!((bytes, masks), model.get(at, size_bytes));
                }
            }
            Op::StoreSlow { who, at, bytes, masks, granted } => {
                let expected = model.vet(who, AccessKind::Write, at, bytes.len() as u64, granted);
                let result = real.store_slow(who, GuestAddr(at), &bytes, &masks, granted);
                assert_eq!(result, expected);
                if result.is_ok() {
                    model.put(at, &bytes, &masks);
                }
            }
            Op::Forget { at, size_bytes } => {
                let size_bytes = size_bytes.min(u64::MAX - at);
                real.forget(at, size_bytes);
                model.forget(at, size_bytes);
            }
            Op::Fetch { is_user, at } => {
                let vet = |len| model.vet(ring(is_user), AccessKind::Execute, at, len, true);
                let len = (1..=15).take_while(|len| vet(*len).is_ok()).last().unwrap_or(0);
                let mut bytes = [0; 15];
                match real.fetch(is_user, GuestAddr(at), &mut bytes) {
                    Ok(count) => {
                        assert_eq!(count as u64, len);
                        assert_eq!(bytes[..count], model.get(at, count).0);
                        let version = real.code_version(GuestAddr(at));
                        let bytes = bytes[..count].to_vec();
                        self.fetched.push(Fetched { at, is_user, bytes, version });
                    }
                    Err(objection) => {
                        assert_eq!(len, 0);
                        assert_eq!(Err(objection), vet(15));
                    }
                }
            }
            _ => unreachable!("not an engine operation"),
        }
    }

    /// Code whose version is unchanged must be unchanged, as far as the page goes.
    fn compare_code(&self) {
        for code in &self.fetched {
            if self.real.code_version(GuestAddr(code.at)) != code.version {
                continue;
            }
            let in_page = (PAGE_BYTES - (code.at & 0xfff)).min(code.bytes.len() as u64);
            let who = ring(code.is_user);
            if self.model.is_pageable_allowed {
                // States are not part of a version: code that becomes untouchable is data no more.
                let vetted = self.model.vet(who, AccessKind::Execute, code.at, in_page, true);
                if vetted.is_err() {
                    continue;
                }
            }
            let count = usize::try_from(in_page).expect("small");
            let (now, _) = self.model.get(code.at, count);
            assert_eq!(now, code.bytes[..count], "stale code at {:#x}", code.at);
        }
    }

    fn compare_all(&mut self) {
        let spaces: Vec<Option<u16>> =
            std::iter::once(None).chain(self.model.spaces.keys().copied().map(Some)).collect();
        let current = self.model.space;
        assert_eq!(self.real.space(), current.map(SpaceId));
        for space in spaces {
            self.real.set_space(space.map(SpaceId));
            self.model.space = space;
            for page in PAGES {
                let expected = self.model.mapping(page);
                assert_eq!(self.real.mapping(GuestAddr(page)), expected);
                if expected.is_some() {
                    self.compare_page(page);
                }
            }
        }
        self.real.set_space(current.map(SpaceId));
        self.model.space = current;
    }

    fn compare_page(&mut self, page: u64) {
        for chunk in (page..=page + 4095).step_by(64) {
            let (mut bytes, mut masks) = ([0; 64], [0; 64]);
            self.real
                .load_slow(Accessor::Machine, GuestAddr(chunk), &mut bytes, &mut masks, true)
                .expect("the machine may read what is mapped");
            let expected: Vec<Cell> =
                (0..64).map(|index| self.model.cell(chunk + index).expect("mapped")).collect();
            let (values, undefined): (Vec<u8>, Vec<u8>) =
                expected.iter().map(|cell| (cell.value, cell.mask)).unzip();
            assert_eq!((&bytes[..], &masks[..]), (&values[..], &undefined[..]), "at {chunk:#x}");
        }
    }
}

fn ring(is_user: bool) -> Accessor {
    if is_user { Accessor::User } else { Accessor::Supervisor }
}

fn little_endian(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn agrees_with_the_model(
        is_furnished in any::<bool>(),
        ops in prop::collection::vec(prop_oneof![mapping_op(), access_op(), access_op()], 1..150),
    ) {
        let mut pair = Pair::new();
        if is_furnished {
            pair.furnish();
        }
        for op in ops {
            let is_restore = matches!(op, Op::Restore { .. });
            let (epoch, versions) = (pair.real.code_epoch(), pair.versions());
            pair.run(op);
            if pair.real.code_epoch() == epoch {
                let now = pair.versions();
                assert_eq!(now[..versions.len()], versions, "a version changed, not the epoch");
            }
            pair.compare_code();
            if is_restore {
                pair.compare_all();
            }
        }
        pair.compare_all();
    }
}

impl Pair {
    fn versions(&self) -> Vec<u64> {
        self.fetched.iter().map(|code| self.real.code_version(GuestAddr(code.at))).collect()
    }
}
