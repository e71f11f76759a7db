//! A small PDB, as a linker would write it for one source file.
//!
//! | offset in section 1 | function | line |
//! | --- | --- | --- |
//! | 0 to 8 | `Outer` | `driver.c` 10 |
//! | 8 to 10h | `Outer` | `driver.c` 11 |
//! | 10h to 14h | `ns::inner` in `Outer` | `driver.h` 101 in `driver.c` 12 |
//! | 14h to 16h | `deep` in that | `driver.h` 200 in `driver.h` 102 in `driver.c` 12 |
//! | 16h to 18h | `ns::inner` in `Outer` | `driver.h` 101 in `driver.c` 12 |
//! | 18h to 20h | `Outer` | `driver.c` 13, column 5 |
//! | 20h to 30h | `Second` | none |
//! | from 40h | public symbol `assembled` | none |

use crate::PdbIdentity;

const BLOCK_BYTES: usize = 0x200;
const FIRST_TYPE: u32 = 0x1000;
const STRING_ID: u32 = FIRST_TYPE;
const INNER: u32 = FIRST_TYPE + 1;
const DEEP: u32 = FIRST_TYPE + 2;
/// Offsets into the list of files.
const DRIVER_C: u32 = 0;
const DRIVER_H: u32 = 8;

// Numbers of the streams that have no fixed one.
const NAMES: u32 = 5;
const SECTIONS: u16 = 6;
const MODULE: u16 = 7;
const SYMBOLS: u16 = 8;

/// Writes the PDB for an image with one section of code.
pub fn example(identity: PdbIdentity, code_rva: u32, code_bytes: u32) -> Vec<u8> {
    let module = module_stream();
    let streams = [
        Vec::new(),
        info_stream(identity),
        type_stream(&[]),
        debug_stream(identity.age, &module),
        type_stream(&[
            record(0x1605, &[&words(&[0]), b"ns\0"]),
            record(0x1601, &[&words(&[STRING_ID, 0]), b"inner\0"]),
            record(0x1601, &[&words(&[0, 0]), b"deep\0"]),
        ]),
        names_stream(),
        section_stream(code_rva, code_bytes),
        module.bytes,
        record(0x110E, &[&words(&[2, 0x40]), &[1, 0], b"assembled\0"]),
    ];
    container(&streams)
}

struct ModuleStream {
    bytes: Vec<u8>,
    symbol_bytes: u32,
    line_bytes: u32,
}

fn module_stream() -> ModuleStream {
    let procedure = |len_bytes, offset, name: &[u8]| {
        let fields = words(&[0, 0, 0, len_bytes, 0, 0, 0, offset]);
        record(0x1110, &[&fields, &[1, 0, 0], name])
    };
    // Operations: 3 code offset, 4 code length, 6 line, 11 both; signs are in the lowest bit.
    let inner = [6, 2, 3, 0x10, 11, 0x24, 6, 3, 3, 2, 4, 2];
    let symbols = [
        words(&[4]),
        procedure(0x20, 0, b"Outer\0"),
        record(0x114D, &[&words(&[0, 0, INNER]), &inner]),
        record(0x114D, &[&words(&[0, 0, DEEP]), &[3, 0x14, 4, 2]]),
        record(0x114E, &[]),
        record(0x114E, &[]),
        record(0x0006, &[]),
        procedure(0x10, 0x20, b"Second\0"),
        record(0x0006, &[]),
    ]
    .concat();
    let statement = |offset, line: u32| words(&[offset, line | 0x8000_0000]);
    let lines = [statement(0, 10), statement(8, 11), statement(0x10, 12), statement(0x18, 13)];
    let columns = words(&[0, 0, 0, 5]);
    let block = [words(&[DRIVER_C, 4, 12 + 32 + 16]), lines.concat(), columns].concat();
    let lines = [
        subsection(0xF4, &words(&[1, 0, 10, 0])),
        subsection(0xF6, &words(&[0, INNER, DRIVER_H, 100, DEEP, DRIVER_H, 200])),
        subsection(0xF2, &[words(&[0, 0x0001_0001, 0x20]), block].concat()),
    ]
    .concat();
    let (symbol_bytes, line_bytes) = (len(&symbols), len(&lines));
    ModuleStream { bytes: [symbols, lines].concat(), symbol_bytes, line_bytes }
}

fn info_stream(identity: PdbIdentity) -> Vec<u8> {
    let mut bytes = words(&[20_000_404, 0, identity.age]);
    bytes.extend(identity.guid);
    bytes.extend(words(&[7]));
    bytes.extend(b"/names\0");
    bytes.extend(words(&[1, 1, 1, 1, 0, 0, NAMES]));
    bytes
}

fn type_stream(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(records.len()).unwrap_or(0);
    let records = records.concat();
    let mut bytes = words(&[20_040_203, 56, FIRST_TYPE, FIRST_TYPE + count, len(&records)]);
    bytes.resize(56, 0);
    bytes.extend(records);
    bytes
}

fn debug_stream(age: u32, module: &ModuleStream) -> Vec<u8> {
    let mut modules = vec![0; 34];
    modules.extend(MODULE.to_le_bytes());
    modules.extend(words(&[module.symbol_bytes, 0, module.line_bytes]));
    modules.resize(64, 0);
    modules.extend(b"driver.obj\0driver.obj\0");
    modules.resize(modules.len().next_multiple_of(4), 0);
    let optional: Vec<u8> = (0..11_u16)
        .flat_map(|index| if index == 5 { SECTIONS } else { u16::MAX }.to_le_bytes())
        .collect();
    let mut bytes = words(&[u32::MAX, 19_990_903, age]);
    for field in [u16::MAX, 0, u16::MAX, 0, SYMBOLS, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(words(&[len(&modules), 0, 0, 0, 0, 0, len(&optional), 0]));
    bytes.extend(words(&[0x8664_0000, 0]));
    bytes.extend(modules);
    bytes.extend(optional);
    bytes
}

fn names_stream() -> Vec<u8> {
    let mut bytes = words(&[0xEFFE_EFFE, 1, 19]);
    bytes.extend(b"\0driver.c\0driver.h\0");
    bytes
}

fn section_stream(rva: u32, size_bytes: u32) -> Vec<u8> {
    let mut bytes = b".text\0\0\0".to_vec();
    bytes.extend(words(&[size_bytes, rva, size_bytes, 0x400, 0, 0, 0, super::CODE]));
    bytes
}

/// A record of symbols or types: length, kind, content, padded to four bytes.
fn record(kind: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut content = [&kind.to_le_bytes(), parts.concat().as_slice()].concat();
    content.resize((content.len() + 2).next_multiple_of(4) - 2, 0);
    let len_bytes = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [&len_bytes.to_le_bytes(), content.as_slice()].concat()
}

fn subsection(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = words(&[kind, len(content)]);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Writes the streams into blocks: superblock, two free maps, streams, directory, its block map.
fn container(streams: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0; 3 * BLOCK_BYTES];
    let mut place = |bytes: &[u8]| {
        let first = file.len() / BLOCK_BYTES;
        file.extend_from_slice(bytes);
        file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
        let blocks = first..file.len() / BLOCK_BYTES;
        blocks.map(|block| u32::try_from(block).unwrap_or(0)).collect::<Vec<u32>>()
    };
    let blocks: Vec<u32> = streams.iter().flat_map(|stream| place(stream)).collect();
    let sizes: Vec<u32> = streams.iter().map(|stream| len(stream)).collect();
    let count = u32::try_from(streams.len()).unwrap_or(0);
    let directory = [words(&[count]), words(&sizes), words(&blocks)].concat();
    let directory_blocks = words(&place(&directory));
    let map = words(&place(&directory_blocks));
    let mut superblock = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0".to_vec();
    let block_count = u32::try_from(file.len() / BLOCK_BYTES).unwrap_or(0);
    let block_bytes = u32::try_from(BLOCK_BYTES).unwrap_or(0);
    superblock.extend(words(&[block_bytes, 1, block_count, len(&directory), 0]));
    superblock.extend(map);
    for (to, from) in file.iter_mut().zip(superblock) {
        *to = from;
    }
    file
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
