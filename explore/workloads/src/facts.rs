//! What the image says about the requests its driver expects.

use std::collections::{BTreeMap, BTreeSet};

use pe_image::{
    Image, ImportName,
    scan::{LengthOf, Scan},
};

/// Hints from the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Control codes, the surest first.
    pub codes: Vec<u32>,
    /// How many of them are compared with the control code of a request for sure.
    pub sure_codes: usize,
    /// Lengths that are compared where a control code leads.
    pub lengths_of_code: BTreeMap<u32, BTreeSet<u32>>,
    /// Lengths that are compared with a length of a request anywhere.
    pub lengths: BTreeSet<u32>,
    /// Names of devices and links.
    pub names: Vec<String>,
    /// It imports what every cancel routine needs.
    pub can_cancel: bool,
}

/// Control codes tried; an image may hold any number of look-alikes.
const MAX_CODES: usize = 256;
/// Lengths kept per code and in all.
const MAX_LENGTHS: usize = 16;
/// Longer buffers say nothing new.
const MAX_LENGTH_BYTES: u32 = 0x1_0000;

/// Routines without which no request can be cancelled: a cancel routine "must call
/// IoReleaseCancelSpinLock", and the others set up queues with one of the kernel's.
const OF_CANCEL: [&str; 4] =
    ["IoReleaseCancelSpinLock", "IoCsqInitialize", "IoCsqInitializeEx", "IoStartPacket"];

fn imports_cancel(image: &Image) -> bool {
    image.imports().iter().any(|import| match &import.name {
        ImportName::Name(name) => OF_CANCEL.contains(&name.as_str()),
        _ => false,
    })
}

impl Facts {
    /// Takes what a scan of the image found.
    pub fn of(image: &Image) -> Self {
        Self { can_cancel: imports_cancel(image), ..Self::from_scan(&Scan::new(image)) }
    }

    fn from_scan(scan: &Scan) -> Self {
        let sure = scan.control_codes.iter().filter(|c| c.is_from_stack_location);
        let likely = scan.control_codes.iter().filter(|c| !c.is_from_stack_location);
        let sure_codes = sure.clone().count().min(MAX_CODES);
        let codes = sure.chain(likely).map(|c| c.code).take(MAX_CODES).collect();
        let names = scan.device_names.iter().map(|found| found.name.clone()).collect();
        let mut facts = Self { codes, sure_codes, names, ..Self::default() };
        let lengths = scan.lengths.iter().filter(|l| l.value_bytes < MAX_LENGTH_BYTES);
        for length in lengths {
            // `len < 24` may be compiled to a comparison with 23.
            let both = [length.value_bytes, length.value_bytes + 1];
            if let Some(code) = length.control_code {
                let of_code = facts.lengths_of_code.entry(code).or_default();
                if of_code.len() < MAX_LENGTHS {
                    of_code.extend(both);
                }
            }
            if length.of != LengthOf::Other && facts.lengths.len() < MAX_LENGTHS {
                facts.lengths.extend(both);
            }
        }
        facts
    }
}
