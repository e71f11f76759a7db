//! Small DWARF sections, as gcc would write them for one source file.
//!
//! | offset in the code | function | line |
//! | --- | --- | --- |
//! | 0 to 8 | `Outer` | `/src/driver.c` 10 |
//! | 8 to 10h | `Outer` | `/src/driver.c` 11, column 3 |
//! | 10h to 18h | `inner` in `Outer` | `/src/driver.h` 101 in `/src/driver.c` 12, column 7 |
//! | 18h to 20h | `Outer` | `/src/driver.c` 13 |

use super::{CONSTANTS, ImageBuilder};

/// Adds the sections to an image whose code starts at an RVA.
pub fn add_example(builder: &mut ImageBuilder, code_rva: u32) {
    let address = builder.fields.image_base + u64::from(code_rva);
    builder.section(".debug_abbrev", CONSTANTS, &abbreviations());
    builder.section(".debug_info", CONSTANTS, &with_length(&entries(address)));
    builder.section(".debug_line", CONSTANTS, &with_length(&lines(address)));
}

/// Four kinds of entries: number, tag, children, pairs of attribute and form.
fn abbreviations() -> Vec<u8> {
    [
        // Unit: name, compilation folder, line table, low address, size.
        [1, 0x11, 1, 0x03, 0x08, 0x1B, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0].as_slice(),
        // Function that was inlined: name, inline.
        &[2, 0x2E, 0, 0x03, 0x08, 0x20, 0x0B, 0, 0],
        // Function: name, low address, size.
        &[3, 0x2E, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0],
        // Inlined call: origin, low address, size, file, line and column of the call.
        &[4, 0x1D, 0, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0x58, 0x0B, 0x59, 0x0B, 0x57, 0x0B, 0, 0],
        &[0],
    ]
    .concat()
}

fn entries(address: u64) -> Vec<u8> {
    // Version 4, abbreviations at 0, addresses of eight bytes.
    let mut bytes = vec![4, 0, 0, 0, 0, 0, 8];
    bytes.push(1);
    bytes.extend(b"driver.c\0/src\0");
    bytes.extend([0; 4]);
    bytes.extend(address.to_le_bytes());
    bytes.extend(0x20_u32.to_le_bytes());
    // References count from the length field, which is written in front later.
    let origin = u32::try_from(bytes.len() + 4).unwrap_or(0);
    bytes.push(2);
    bytes.extend(b"inner\0\x01");
    bytes.push(3);
    bytes.extend(b"Outer\0");
    bytes.extend(address.to_le_bytes());
    bytes.extend(0x20_u32.to_le_bytes());
    bytes.push(4);
    bytes.extend(origin.to_le_bytes());
    bytes.extend((address + 0x10).to_le_bytes());
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend([1, 12, 7]);
    // The ends of the function and of the unit.
    bytes.extend([0, 0]);
    bytes
}

fn lines(address: u64) -> Vec<u8> {
    // After the length of this part: instructions of one byte, one operation each, statements by
    // default, lines from -5 in steps of 14, operands of the twelve standard operations, no
    // folders, two files.
    let mut header = vec![1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0];
    header.extend(b"driver.c\0\0\0\0driver.h\0\0\0\0\0");
    let mut program = vec![0, 9, 2];
    program.extend(address.to_le_bytes());
    // 3 advances the line, 2 the address, 4 sets the file, 5 the column, 1 appends a row.
    program.extend([3, 9, 1]);
    program.extend([2, 8, 3, 1, 5, 3, 1]);
    program.extend([2, 8, 4, 2, 3, 0xDA, 0, 5, 0, 1]);
    program.extend([2, 8, 4, 1, 3, 0xA8, 0x7F, 1]);
    program.extend([2, 8, 0, 1, 1]);
    let mut bytes = vec![4, 0];
    bytes.extend(u32::try_from(header.len()).unwrap_or(0).to_le_bytes());
    bytes.extend(header);
    bytes.extend(program);
    bytes
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let len_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len_bytes.to_le_bytes(), bytes].concat()
}
