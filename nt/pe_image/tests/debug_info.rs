//! Functions and lines are found by address and back, in a PDB and in DWARF.

use pe_image::{
    Image, PdbIdentity,
    builder::{self, CODE, ImageBuilder},
    debug_info::{DebugInfo, DebugInfoError},
};
use proptest::prelude::{ProptestConfig, any, proptest};

const IDENTITY: PdbIdentity = PdbIdentity { guid: [7; 16], age: 2 };

fn pdb() -> Vec<u8> {
    builder::pdb::example(IDENTITY, 0x1000, 0x100)
}

fn dwarf() -> Vec<u8> {
    let mut builder = ImageBuilder::new();
    let code = builder.section(".text", CODE, &[0x90; 0x100]);
    builder::dwarf::add_example(&mut builder, code);
    builder.build()
}

/// All frames at an RVA as text, innermost first.
fn frames(info: &DebugInfo, rva: u32) -> Vec<String> {
    let describe = |frame: &pe_image::debug_info::Frame<'_>| {
        let inlined = if frame.inlined { " (inlined)" } else { "" };
        let place = frame.location.map_or_else(String::new, |location| {
            let column = location.column.map_or_else(String::new, |column| format!(":{column}"));
            format!(" {}:{}{column}", location.file, location.line)
        });
        format!("{}+{:#x}{inlined}{place}", frame.function, frame.offset_bytes)
    };
    info.lookup(rva).iter().map(describe).collect()
}

#[test]
fn a_pdb_tells_functions_lines_and_inlined_calls() {
    let info = DebugInfo::from_pdb(&pdb()).unwrap();
    let check = |rva, expected: &[&str]| assert_eq!(frames(&info, rva), expected, "{rva:#x}");
    check(0x1000, &["Outer+0x0 driver.c:10"]);
    check(0x1007, &["Outer+0x7 driver.c:10"]);
    check(0x1008, &["Outer+0x8 driver.c:11"]);
    check(0x1013, &["ns::inner+0x13 (inlined) driver.h:101", "Outer+0x13 driver.c:12"]);
    check(
        0x1014,
        &[
            "deep+0x14 (inlined) driver.h:200",
            "ns::inner+0x14 (inlined) driver.h:102",
            "Outer+0x14 driver.c:12",
        ],
    );
    check(0x1017, &["ns::inner+0x17 (inlined) driver.h:101", "Outer+0x17 driver.c:12"]);
    check(0x1018, &["Outer+0x18 driver.c:13:5"]);
    check(0x1020, &["Second+0x0"]);
    check(0x1030, &[]);
    check(0x1045, &["assembled+0x5"]);
    check(0x1100, &[]);
    check(0, &[]);
    assert_eq!(info.damaged_part_count(), 0);
    assert_eq!(info.files(), ["driver.c", "driver.h"]);
    let functions: Vec<_> = info.functions().collect();
    assert_eq!(functions, [("Outer", 0x1000, 0x1020), ("Second", 0x1020, 0x1030)]);
}

#[test]
fn dwarf_tells_functions_lines_and_inlined_calls() {
    let image = Image::parse(&dwarf()).unwrap();
    let info = DebugInfo::from_dwarf(&image).unwrap();
    let check = |rva, expected: &[&str]| assert_eq!(frames(&info, rva), expected, "{rva:#x}");
    check(0x1000, &["Outer+0x0 /src/driver.c:10"]);
    check(0x1008, &["Outer+0x8 /src/driver.c:11:3"]);
    check(0x1010, &["inner+0x10 (inlined) /src/driver.h:101", "Outer+0x10 /src/driver.c:12:7"]);
    check(0x1018, &["Outer+0x18 /src/driver.c:13"]);
    check(0x1020, &[]);
    assert_eq!(info.damaged_part_count(), 0);
    assert!(info.belongs_to(&image));
}

#[test]
fn lines_lead_to_addresses() {
    let info = DebugInfo::from_pdb(&pdb()).unwrap();
    assert_eq!(info.rvas_of_line("driver.c", 11), [0x1008]);
    assert_eq!(info.rvas_of_line("driver.h", 101), [0x1010, 0x1016]);
    assert_eq!(info.rvas_of_line("driver.c", 101), []);
    assert_eq!(info.rvas_of_line("iver.c", 11), [], "no whole component");
    let image = Image::parse(&dwarf()).unwrap();
    let info = DebugInfo::from_dwarf(&image).unwrap();
    assert_eq!(info.rvas_of_line(r"SRC\driver.c", 13), [0x1018]);
    assert_eq!(info.rvas_of_line("driver.h", 101), [0x1010]);
}

#[test]
fn another_pdb_is_known_by_its_identity() {
    let info = DebugInfo::from_pdb(&pdb()).unwrap();
    assert_eq!(info.pdb_identity(), Some(IDENTITY));
    let stranger = Image::parse(&dwarf()).unwrap();
    assert!(!info.belongs_to(&stranger));
}

#[test]
fn files_that_say_nothing_are_refused() {
    let refusal = |file: &[u8]| DebugInfo::from_pdb(file).unwrap_err().to_string();
    let not_pdb = "not a PDB file: expected the signature `Microsoft C/C++ MSF 7.00`";
    assert_eq!(refusal(b""), not_pdb);
    assert_eq!(refusal(&dwarf()), not_pdb);
    assert_eq!(
        refusal(&pdb()[..0x300]),
        "malformed debug information: expected blocks inside the file in the PDB container"
    );
    let mut builder = ImageBuilder::new();
    builder.section(".text", CODE, &[0xC3]);
    let image = Image::parse(&builder.build()).unwrap();
    assert_eq!(DebugInfo::from_dwarf(&image).unwrap_err(), DebugInfoError::NoDwarf);
}

#[test]
fn a_stream_cannot_name_one_block_again_and_again() {
    let mut file = pdb();
    // The directory is the second block from the end; the size of stream 7 is its ninth word.
    let at = file.len() - 2 * 0x200 + 8 * 4;
    file[at..at + 4].copy_from_slice(&0x7FFF_0000_u32.to_le_bytes());
    assert_eq!(
        DebugInfo::from_pdb(&file).unwrap_err().to_string(),
        "malformed debug information: expected streams that fit into the file in the PDB container"
    );
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_companions_are_answered(
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..12),
    ) {
        let (mut pdb, mut image) = (pdb(), dwarf());
        for (at, value) in changes {
            let room = pdb.len();
            pdb[usize::from(at) % room] = value;
            let room = image.len() - 0x400;
            image[0x400 + usize::from(at) % room] = value;
        }
        let infos = [
            DebugInfo::from_pdb(&pdb).ok(),
            Image::parse(&image).ok().and_then(|image| DebugInfo::from_dwarf(&image).ok()),
        ];
        for info in infos.into_iter().flatten() {
            for rva in (0x1000..0x1060).step_by(3) {
                assert!(info.lookup(rva).len() < 300);
            }
            let _found = info.rvas_of_line("driver.c", 11);
        }
    }
}
