//! Unwind data is decoded as documented, and damage is an error with a place.

#![expect(clippy::unwrap_used, reason = "a broken expectation stops a test")]

use object::pe;
use pe_image::{
    Image,
    builder::{CODE, CONSTANTS, ImageBuilder},
    scope_table::{Scope, ScopeHandler, ScopeTable},
    unwind::{RuntimeFunction, UnwindError, UnwindInfo, UnwindOp},
};

fn reader(bytes: &[u8]) -> impl FnMut(u32, &mut [u8]) -> bool {
    move |rva, out: &mut [u8]| {
        let start = usize::try_from(rva).unwrap();
        bytes.get(start..start + out.len()).is_some_and(|from| {
            out.copy_from_slice(from);
            true
        })
    }
}

fn read(bytes: &[u8]) -> Result<UnwindInfo, UnwindError> {
    UnwindInfo::read(&mut reader(bytes), 0)
}

/// What the codes of version 1 mean; the slots are given without the header.
fn check(slots: &[u8], expected: &[(u8, UnwindOp)]) {
    let count = u8::try_from(slots.len() / 2).unwrap();
    let info = read(&[&[1, 20, count, 0], slots].concat()).unwrap();
    let codes: Vec<_> = info.codes.iter().map(|code| (code.prologue_offset, code.op)).collect();
    assert_eq!(codes, expected);
}

#[test]
fn every_operation() {
    check(&[5, 0x30], &[(5, UnwindOp::PushNonvolatile { register: 3 })]);
    check(&[5, 0x42], &[(5, UnwindOp::Allocate { size_bytes: 40 })]);
    check(&[9, 0x01, 0x00, 0x02], &[(9, UnwindOp::Allocate { size_bytes: 0x1000 })]);
    check(&[9, 0x11, 8, 0, 1, 0], &[(9, UnwindOp::Allocate { size_bytes: 0x1_0008 })]);
    check(&[7, 0x03], &[(7, UnwindOp::SetFrameRegister)]);
    let saved = |register, offset_bytes| UnwindOp::SaveNonvolatile { register, offset_bytes };
    check(&[9, 0x64, 3, 0], &[(9, saved(6, 24))]);
    check(&[9, 0x65, 8, 0, 1, 0], &[(9, saved(6, 0x1_0008))]);
    let vector = |register, offset_bytes| UnwindOp::SaveXmm128 { register, offset_bytes };
    check(&[9, 0x68, 3, 0], &[(9, vector(6, 48))]);
    check(&[9, 0x69, 0x10, 0, 1, 0], &[(9, vector(6, 0x1_0010))]);
    check(&[0, 0x1A], &[(0, UnwindOp::PushMachineFrame { has_error_code: true })]);
}

#[test]
fn version_two_names_epilogues() {
    let info = read(&[2, 4, 4, 0, 6, 0x16, 0x20, 0x16, 0, 6, 4, 0x42]).unwrap();
    let ops: Vec<_> = info.codes.iter().map(|code| code.op).collect();
    assert_eq!(
        ops,
        [
            UnwindOp::EpilogueSize { size_bytes: 6, is_at_end: true },
            UnwindOp::EpilogueAt { offset_from_end_bytes: 0x120 },
            UnwindOp::EpilogueAt { offset_from_end_bytes: 0 },
            UnwindOp::Allocate { size_bytes: 40 },
        ]
    );
}

#[test]
fn frame_register_and_handler() {
    // Three slots are padded to four; then the handler and its data.
    let info =
        read(&[0x19, 4, 3, 0x25, 4, 0x42, 3, 0x30, 1, 0x70, 0, 0, 0, 0x10, 0, 0, 9]).unwrap();
    assert_eq!((info.frame_register, info.frame_offset_bytes), (Some(5), 32));
    assert_eq!((info.handler_rva, info.handler_data_rva), (Some(0x1000), Some(16)));
    assert!(info.flags.has_exception_handler && info.flags.has_termination_handler);
}

#[test]
fn chains_are_followed_to_their_end() {
    // At 0: chained to the info at 20; at 20: the primary one.
    let mut bytes = vec![0x21, 0, 1, 0, 4, 0x42, 0, 0];
    for field in [0x1000_u32, 0x1100, 20] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1, 0, 1, 0, 1, 0x30]);
    let function = RuntimeFunction { begin_rva: 0x2000, end_rva: 0x2010, unwind_info_rva: 0 };
    let chain = UnwindInfo::read_chain(&mut reader(&bytes), function).unwrap();
    let begins: Vec<_> = chain.iter().map(|(function, _)| function.begin_rva).collect();
    assert_eq!(begins, [0x2000, 0x1000]);
}

#[test]
fn damage_has_a_place() {
    let function = RuntimeFunction { begin_rva: 0x2000, end_rva: 0x2010, unwind_info_rva: 0 };
    let mut looped = vec![0x21, 0, 0, 0];
    for field in [0x2000_u32, 0x2010, 0] {
        looped.extend(field.to_le_bytes());
    }
    let error = UnwindInfo::read_chain(&mut reader(&looped), function).unwrap_err();
    assert_eq!(error, UnwindError::ChainTooLong { rva: 0x2000 });
    assert_eq!(read(&[3, 0, 0, 0]), Err(UnwindError::UnknownVersion { rva: 0, version: 3 }));
    assert_eq!(
        read(&[1, 0, 1, 0, 5, 0x07]),
        Err(UnwindError::UnknownOp { rva: 0, op: 7, info: 0 })
    );
    assert_eq!(read(&[1, 0, 1, 0, 5, 0x01]), Err(UnwindError::TruncatedCodes { rva: 0 }));
    assert_eq!(read(&[1, 0, 9, 0]), Err(UnwindError::Unreadable { rva: 4, len_bytes: 18 }));
}

#[test]
fn scope_tables_tell_filters_from_finally() {
    let mut bytes = Vec::new();
    for field in [3_u32, 1, 2, 1, 9, 3, 4, 0x50, 9, 5, 6, 0x60, 0] {
        bytes.extend(field.to_le_bytes());
    }
    let table = ScopeTable::read(&mut reader(&bytes), 0).unwrap();
    let scope = |begin_rva, handler| Scope { begin_rva, end_rva: begin_rva + 1, handler };
    assert_eq!(
        table.scopes,
        [
            scope(1, ScopeHandler::Always { target_rva: 9 }),
            scope(3, ScopeHandler::Filter { filter_rva: 0x50, target_rva: 9 }),
            scope(5, ScopeHandler::Finally { finally_rva: 0x60 }),
        ]
    );
    let error = ScopeTable::read(&mut reader(&[0xFF; 64]), 0).unwrap_err();
    assert_eq!(error, UnwindError::TooManyScopes { rva: 0, count: u32::MAX });
}

/// Which function holds an RVA, by a table of (begin, end).
fn lookup(functions: &[(u32, u32)], rva: u32) -> (bool, Option<u32>) {
    let mut builder = ImageBuilder::new();
    builder.section(".text", CODE, &[0xC3; 0x100]);
    let fields = functions.iter().flat_map(|&(begin, end)| [begin, end, 0x2000]);
    let table: Vec<u8> = fields.flat_map(u32::to_le_bytes).collect();
    let at = builder.section(".pdata", CONSTANTS, &table);
    let size_bytes = u32::try_from(table.len()).unwrap();
    builder.directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION, at, size_bytes);
    let image = Image::parse(&builder.build()).unwrap();
    let found = image.functions().lookup(rva);
    (image.functions().is_sorted(), found.map(|function| function.begin_rva))
}

#[test]
fn functions_are_found_by_address() {
    let sorted = [(0x1000, 0x1010), (0x1010, 0x1020), (0x1030, 0x1040)];
    assert_eq!(lookup(&sorted, 0x1000), (true, Some(0x1000)));
    assert_eq!(lookup(&sorted, 0x101F), (true, Some(0x1010)));
    assert_eq!(lookup(&sorted, 0x1020), (true, None));
    assert_eq!(lookup(&sorted, 0xFFF), (true, None));
    let unsorted = [(0x1030, 0x1040), (0x1000, 0x1010), (0, 0), (0x1020, 0x1010)];
    assert_eq!(lookup(&unsorted, 0x1005), (false, Some(0x1000)));
    assert_eq!(lookup(&unsorted, 0x1015), (false, None));
}

#[test]
fn of_entries_that_overlap_the_first_counts() {
    // Inside each other, over each other's ends, twice the same, apart.
    let tables: [&[(u32, u32)]; 3] = [
        &[(0x1008, 0x1010), (0x1000, 0x1020), (0x1004, 0x1018), (0x1000, 0x1020)],
        &[(0x1010, 0x1018), (0x1000, 0x1008), (0x1004, 0x1014), (0x101c, 0x1020)],
        &[(0x1000, 0x1020), (0x1000, 0x1010), (0x1010, 0x1020)],
    ];
    for table in tables {
        for rva in 0xfff..0x1022 {
            let first = table.iter().find(|(begin, end)| (*begin..*end).contains(&rva));
            let expected = (false, first.map(|(begin, _)| *begin));
            assert_eq!(lookup(table, rva), expected, "{rva:x} in {table:x?}");
        }
    }
}
