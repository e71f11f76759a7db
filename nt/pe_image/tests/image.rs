//! Which files are driver images, what is read from them, and what is said about the others.

#![expect(clippy::unwrap_used, reason = "a broken expectation stops a test")]

use object::pe;
use pe_image::{
    Image, ImageError, Import, ImportName,
    builder::{CODE, CONSTANTS, HeaderFields, ImageBuilder, VARIABLES},
};
use proptest::prelude::{ProptestConfig, any, proptest};

/// A driver with code, data, an import of two names, and a relocation.
fn driver(fields: HeaderFields) -> ImageBuilder {
    let mut builder = ImageBuilder::with_fields(fields);
    let code = builder.section(".text", CODE, &[0xC3; 32]);
    builder.fields.entry_point_rva = code;
    let address = builder.fields.image_base + u64::from(code);
    let data = builder.section(".data", VARIABLES, &address.to_le_bytes());
    builder.imports(&[("ntoskrnl.exe", &["DbgPrint", "IoCreateDevice"])]);
    let block = [data.to_le_bytes(), 12_u32.to_le_bytes(), 0xA000_u32.to_le_bytes()].concat();
    let relocations = builder.section(".reloc", CONSTANTS, &block);
    builder.directory(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC, relocations, 12);
    builder
}

fn good() -> Vec<u8> {
    driver(HeaderFields::default()).build()
}

#[test]
fn a_driver_is_read() {
    let image = Image::parse(&good()).unwrap();
    assert_eq!(image.entry_point_rva(), Some(0x1000));
    assert_eq!(image.preferred_base(), 0x1_4000_0000);
    assert!(image.has_relocations());
    assert!(!image.must_stay_at_preferred_base());
    let names: Vec<&str> = image.sections().iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, [".text", ".data", ".idata", ".reloc"]);
    let import = |name: &str, iat_rva| Import {
        module: "ntoskrnl.exe".to_owned(),
        name: ImportName::Name(name.to_owned()),
        iat_rva,
        delay: false,
    };
    let first = image.imports()[0].iat_rva;
    assert_eq!(image.imports(), [import("DbgPrint", first), import("IoCreateDevice", first + 8)]);
}

#[test]
fn moving_an_image_moves_its_addresses() {
    let mut mapped = Image::parse(&good()).unwrap().map();
    mapped.relocate(0xFFFF_F800_1234_0000).unwrap();
    assert_eq!(mapped.bytes[0x2000..0x2008], 0xFFFF_F800_1234_1000_u64.to_le_bytes());
    mapped.relocate(0x1_4000_0000).unwrap();
    assert_eq!(mapped.bytes[0x2000..0x2008], 0x1_4000_1000_u64.to_le_bytes());
}

#[test]
fn without_relocations_only_a_stripped_image_must_stay() {
    let mut builder = ImageBuilder::new();
    builder.section(".text", CODE, &[0xC3]);
    let free = Image::parse(&builder.build()).unwrap();
    assert!(!free.has_relocations());
    free.map().relocate(0xFFFF_F800_0000_0000).unwrap();
    builder.fields.characteristics |= pe::IMAGE_FILE_RELOCS_STRIPPED.0;
    let fixed = Image::parse(&builder.build()).unwrap();
    assert!(fixed.must_stay_at_preferred_base());
    let error = fixed.map().relocate(0xFFFF_F800_0000_0000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot be moved: expected base 0x140000000 (relocations are stripped), \
         found 0xfffff80000000000"
    );
}

#[test]
fn sections_have_protection_and_paging_by_name_and_flags() {
    let discardable = CODE | pe::IMAGE_SCN_MEM_DISCARDABLE.0;
    let mut builder = ImageBuilder::new();
    builder.section("PAGEsome", CODE, &[0xC3]);
    builder.section("INIT", discardable, &[0xC3]);
    builder.section(".rdata", CONSTANTS, &[1]);
    let image = Image::parse(&builder.build()).unwrap();
    let facts: Vec<_> = image.sections().iter().map(|s| (s.pageable, s.discardable)).collect();
    assert_eq!(facts, [(true, false), (false, true), (false, false)]);
    let perms = |rva| {
        let perms = image.mapped().page_perms(rva);
        (perms.read, perms.write, perms.execute)
    };
    assert_eq!(perms(0), (true, false, false), "headers");
    assert_eq!(perms(0x1FFF), (true, false, true), "code, to the end of its page");
    assert_eq!(perms(0x3000), (true, false, false), "constants");
    assert_eq!(perms(0x4000), (false, false, false), "behind the image");
}

#[test]
fn below_page_alignment_the_file_is_the_memory() {
    let fields = HeaderFields { section_alignment: 0x20, ..HeaderFields::default() };
    let mut builder = ImageBuilder::with_fields(fields);
    builder.section(".text", CODE, &[0xC3; 5]);
    builder.section(".data", VARIABLES, &[7; 5]);
    let file = builder.build();
    let image = Image::parse(&file).unwrap();
    let mapped = image.mapped();
    assert!(mapped.is_flat());
    assert_eq!(mapped.bytes[..file.len()], file);
    assert_eq!(mapped.bytes.len(), 0x1000);
    assert!(mapped.page_perms(0x400).write && mapped.page_perms(0x400).execute);
}

#[test]
fn ordinals_and_delayed_imports_are_read() {
    let mut builder = ImageBuilder::new();
    let rva = builder.next_rva();
    // A delay descriptor, an empty one, the module, two thunks and their slots.
    let mut bytes = Vec::new();
    for field in [1, rva + 64, 0, rva + 96, rva + 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
        bytes.extend(u32::to_le_bytes(field));
    }
    bytes.extend(b"HAL.dll\0\0\0\0\0\0\0\0\0");
    bytes.extend(0x8000_0000_0000_0007_u64.to_le_bytes());
    bytes.extend([0; 24]);
    builder.section(".didat", VARIABLES, &bytes);
    builder.directory(pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, rva, 64);
    let image = Image::parse(&builder.build()).unwrap();
    let (module, name) = ("HAL.dll".to_owned(), ImportName::Ordinal(7));
    assert_eq!(image.imports(), [Import { module, name, iat_rva: rva + 96, delay: true }]);
}

#[test]
fn long_section_names_are_resolved() {
    let mut builder = ImageBuilder::new();
    builder.section(".debug_abbrev", CONSTANTS, &[0]);
    let image = Image::parse(&builder.build()).unwrap();
    assert_eq!(image.sections()[0].name, ".debug_abbrev");
}

#[test]
fn the_name_of_the_pdb_has_no_folder() {
    for (path, expected) in [
        (r"d:\build\amd64\driver.pdb", Some("driver.pdb")),
        ("/build/out/driver.pdb", Some("driver.pdb")),
        ("driver.pdb", Some("driver.pdb")),
        (r"..\..", None),
        ("", None),
    ] {
        let mut builder = ImageBuilder::new();
        let rva = builder.next_rva();
        let mut record = b"RSDS".to_vec();
        record.extend([0x11; 16]);
        record.extend(3_u32.to_le_bytes());
        record.extend(path.bytes().chain([0]));
        let size_bytes = u32::try_from(record.len()).unwrap();
        let mut entry = Vec::new();
        for field in [0, 0, 0, 2, size_bytes, rva + 28, 0] {
            entry.extend(u32::to_le_bytes(field));
        }
        entry.extend(record);
        builder.section(".rdata", CONSTANTS, &entry);
        builder.directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG, rva, 28);
        let image = Image::parse(&builder.build()).unwrap();
        assert_eq!(image.pdb_file_name(), expected);
        let identity = image.code_view().unwrap().identity;
        assert_eq!(identity.to_string(), "11111111-1111-1111-1111-111111111111 age 3");
    }
}

#[test]
fn the_load_configuration_gives_rvas() {
    let mut builder = ImageBuilder::new();
    let cookie = builder.section(".data", VARIABLES, &[0; 16]);
    let mut config = vec![0; 0x94];
    config[..4].copy_from_slice(&0x94_u32.to_le_bytes());
    let base = builder.fields.image_base;
    config[0x58..0x60].copy_from_slice(&(base + u64::from(cookie)).to_le_bytes());
    config[0x70..0x78].copy_from_slice(&(base + u64::from(cookie) + 8).to_le_bytes());
    config[0x78..0x80].copy_from_slice(&(base + 0x100_0000).to_le_bytes());
    config[0x90..0x94].copy_from_slice(&0x500_u32.to_le_bytes());
    let rva = builder.section(".rdata", CONSTANTS, &config);
    builder.directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG, rva, 0x94);
    let image = Image::parse(&builder.build()).unwrap();
    assert_eq!(image.security_cookie_rva(), Some(cookie));
    let config = image.load_config().unwrap();
    assert_eq!(config.guard_check_slot_rva, Some(cookie + 8));
    assert_eq!(config.guard_dispatch_slot_rva, None, "outside the image");
    assert_eq!(config.guard_flags, 0x500);
}

/// What one damage to a good driver is called.
fn check(fields: HeaderFields, expected: &str) {
    let error = Image::parse(&driver(fields).build()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn refusals_say_what_was_expected_and_found() {
    let fields = HeaderFields::default();
    check(
        HeaderFields { machine: 0x14C, ..fields.clone() },
        "not an x64 driver: expected machine type 0x8664 (x64), found 0x014c (32-bit x86)",
    );
    check(
        HeaderFields { machine: 0xAA64, ..fields.clone() },
        "not an x64 driver: expected machine type 0x8664 (x64), found 0xaa64 (Arm64)",
    );
    check(
        HeaderFields { magic: 0x10B, ..fields.clone() },
        "not a 64-bit image: expected optional header magic 0x20b (PE32+), found 0x10b",
    );
    check(
        HeaderFields { subsystem: 3, ..fields.clone() },
        "not a driver: expected subsystem 1 (native), found 3 (console program)",
    );
    check(
        HeaderFields { characteristics: 0x20, ..fields.clone() },
        "not a linked image: expected `IMAGE_FILE_EXECUTABLE_IMAGE` in the characteristics, \
         found 0x0020",
    );
    check(
        HeaderFields { image_bytes: Some(0x2000), ..fields.clone() },
        "the headers lie about sizes: expected `.data` to end within `SizeOfImage` (0x2000), \
         found its end at 0x2008",
    );
    check(
        HeaderFields { image_bytes: Some(0xFFFF_FFFF), ..fields.clone() },
        "malformed headers: expected SizeOfImage between 1 byte and 256 MiB, found 0xffffffff",
    );
    check(
        HeaderFields { section_count: Some(97), ..fields.clone() },
        "malformed headers: expected NumberOfSections between 1 and 96, found 0x61",
    );
    check(
        HeaderFields { image_base: 0x1_4000_1000, ..fields },
        "malformed headers: expected ImageBase to be a multiple of 64 KiB, found 0x140001000",
    );
}

#[test]
fn other_files_are_refused() {
    let refusal = |file: &[u8]| Image::parse(file).unwrap_err().to_string();
    assert_eq!(refusal(b""), "not a PE file: expected the signature `MZ`, found a file of 0 bytes");
    assert_eq!(refusal(b"\x7fELF"), r"not a PE file: expected the signature `MZ`, found `\x7fE`");
    assert_eq!(
        refusal(b"MZ"),
        "truncated: expected 64 bytes for the DOS header, found a file of 2"
    );
    let file = good();
    assert_eq!(
        refusal(&file[..0x500]),
        "truncated: expected 1536 bytes for section `.text`, found a file of 1280"
    );
}

#[test]
fn programs_are_refused() {
    for module in ["KERNEL32.dll", "ntdll.dll", "api-ms-win-crt-heap-l1-1-0.dll"] {
        let mut builder = ImageBuilder::new();
        builder.imports(&[("ntoskrnl.exe", &["DbgPrint"]), (module, &["Sleep"])]);
        let error = Image::parse(&builder.build()).unwrap_err();
        assert_eq!(error, ImageError::UserMode { module: module.to_owned() });
    }
}

#[test]
fn overlapping_sections_are_refused() {
    let mut file = good();
    // The RVA of the second section, in the section table.
    let at = 0x80 + 24 + 240 + 40 + 12;
    file[at..at + 4].copy_from_slice(&0x1000_u32.to_le_bytes());
    let error = Image::parse(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed sections: expected `.data` at 0x2000, after what comes before it, \
         found it at 0x1000"
    );
}

#[test]
fn malformed_relocations_are_refused() {
    let check = |block: [u32; 3], expected: &str| {
        let mut builder = ImageBuilder::new();
        let bytes: Vec<u8> = block.iter().flat_map(|field| field.to_le_bytes()).collect();
        let rva = builder.section(".reloc", CONSTANTS, &bytes);
        builder.directory(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC, rva, 12);
        let error = Image::parse(&builder.build()).unwrap_err();
        assert_eq!(error.to_string(), format!("malformed relocation directory: {expected}"));
    };
    check([0x1000, 12, 0xAFFF], "expected targets inside the image, found 0x1fff");
    check([0x1000, 12, 0x5000], "expected types 0, 1, 2, 3 and 10, found 0x5");
    check([0x1000, 4, 0], "expected a block of 8 to 0x4000 bytes, found 0x4");
    check([0x1000, 16, 0], "expected the last block to end with the directory, found 0x10");
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_images_are_answered(
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        cut in any::<u16>(),
        in_headers in any::<bool>(),
    ) {
        let mut file = good();
        for (at, value) in changes {
            let room = if in_headers { 0x220 } else { file.len() };
            file[usize::from(at) % room] = value;
        }
        if cut % 4 == 0 {
            file.truncate(usize::from(cut) % file.len());
        }
        if let Ok(image) = Image::parse(&file) {
            assert!(image.mapped().bytes.len() <= 256 << 20);
            let _moved = image.map().relocate(0xFFFF_F800_0000_0000);
        }
    }
}
