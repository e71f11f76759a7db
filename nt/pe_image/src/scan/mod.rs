//! What the code of a driver seems to expect: control codes, lengths, device names.
//!
//! These are hints for whoever makes up requests, not facts about what the driver accepts: a code
//! may be missing here that the driver computes, and one may be listed that is no control code.
//! Nothing may be concluded about the driver from them.

mod jump_table;
mod names;
mod state;
mod walk;

use std::collections::BTreeMap;

use crate::Image;

/// Everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Numbers that look like control codes, or are compared with one, by ascending code.
    pub control_codes: Vec<ControlCode>,
    /// Numbers up to 64 KiB that something is compared with, by ascending number.
    pub lengths: Vec<Length>,
    /// Texts that look like names of devices and links, in the order of the image.
    pub device_names: Vec<DeviceName>,
    /// Whether all code was looked at; very large drivers are scanned in part.
    pub is_complete: bool,
}

impl Scan {
    /// Scans an image.
    pub fn new(image: &Image) -> Self {
        let mut scan = walk::walk(image);
        scan.device_names = names::find(image);
        scan
    }

    /// Returns the control codes alone, ascending.
    pub fn control_code_values(&self) -> Vec<u32> {
        self.control_codes.iter().map(|code| code.code).collect()
    }

    /// Returns the lengths alone, ascending.
    pub fn length_values(&self) -> Vec<u32> {
        let mut values: Vec<u32> = self.lengths.iter().map(|length| length.value_bytes).collect();
        values.dedup();
        values
    }
}

/// A number that the driver tests a control code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlCode {
    /// The number.
    pub code: u32,
    /// The instruction that decides; of a jump table, the jump.
    pub rva: u32,
    /// Whether what is compared was read where an I/O stack location holds the control code.
    /// Otherwise the number only looks like one.
    pub is_from_stack_location: bool,
}

/// A number that the driver compares something small with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// The number as compared; `len < 24` may be compiled to a comparison with 23.
    pub value_bytes: u32,
    /// The comparison.
    pub rva: u32,
    /// What is compared.
    pub of: LengthOf,
    /// The control code that leads there, if one does.
    pub control_code: Option<u32>,
}

/// What a length belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LengthOf {
    /// Read where an I/O stack location holds the length of the input buffer.
    Input,
    /// Read where an I/O stack location holds the length of the output buffer, or of a transfer.
    Output,
    /// Unknown; often no length at all.
    Other,
}

/// A text that looks like the name of a device or of a link to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName {
    /// The text.
    pub name: String,
    /// Where it starts.
    pub rva: u32,
}

/// Collects what the walk finds, each thing once.
#[derive(Default)]
struct Found {
    codes: BTreeMap<u32, (u32, bool)>,
    lengths: BTreeMap<(u32, LengthOf, Option<u32>), u32>,
}

/// More than any driver has; a hostile one could make up millions.
const CODE_LIMIT: usize = 4096;
const LENGTH_LIMIT: usize = 16_384;

impl Found {
    fn code(&mut self, code: u32, rva: u32, is_from_stack_location: bool) {
        if self.codes.len() < CODE_LIMIT {
            let entry = self.codes.entry(code).or_insert((rva, is_from_stack_location));
            if is_from_stack_location && !entry.1 {
                *entry = (rva, true);
            }
        }
    }

    fn length(&mut self, value_bytes: u32, rva: u32, of: LengthOf, control_code: Option<u32>) {
        if self.lengths.len() < LENGTH_LIMIT {
            self.lengths.entry((value_bytes, of, control_code)).or_insert(rva);
        }
    }

    fn into_scan(self, is_complete: bool) -> Scan {
        let codes = self.codes.into_iter();
        let lengths = self.lengths.into_iter();
        Scan {
            control_codes: codes
                .map(|(code, (rva, is_from_stack_location))| ControlCode {
                    code,
                    rva,
                    is_from_stack_location,
                })
                .collect(),
            lengths: lengths
                .map(|((value_bytes, of, control_code), rva)| Length {
                    value_bytes,
                    rva,
                    of,
                    control_code,
                })
                .collect(),
            device_names: Vec::new(),
            is_complete,
        }
    }
}

/// Says whether a number is built like a control code: device type, access, function, method.
///
/// Status codes are built alike, with small function numbers; those of the types that severity
/// bits make are left out.
/// Source:
/// <https://learn.microsoft.com/windows-hardware/drivers/kernel/defining-i-o-control-codes>.
fn looks_like_control_code(value: u32) -> bool {
    let device_type = value >> 16;
    let function = value >> 2 & 0xFFF;
    match device_type {
        0 | 0xFFFF => false,
        // Function 0, any access, buffered: round numbers are mostly something else.
        _ if value.trailing_zeros() >= 16 => false,
        // STATUS_SEVERITY_INFORMATIONAL, _WARNING, _ERROR with facility 0, and the values that
        // are extremes of signed numbers.
        0x4000 | 0x8000 | 0xC000 | 0x7FFF => function >= 0x800,
        // Types that Microsoft assigned are below 0x100, those of vendors have the high bit.
        0x0001..0x0100 | 0x8001.. => true,
        // Some vendors took other types; then the function number of vendors is the sign.
        _ => function >= 0x800 && value & 0x2000 != 0,
    }
}
