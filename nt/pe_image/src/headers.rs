//! The file, optional and section headers: checked copies of what the rest needs.
//!
//! Accepted is what the PE format allows in a kernel image; each refusal is an [`ImageError`].

use object::{
    LittleEndian as LE,
    pe::{
        self, ImageDataDirectory, ImageDosHeader, ImageFileHeader, ImageOptionalHeader64,
        ImageSectionHeader,
    },
};

use crate::{
    bytes::{align_up, pod_at, slice_at, text_at, u16_at, u32_at},
    error::ImageError,
};

/// The page size of x64.
pub(crate) const PAGE_BYTES: u32 = 0x1000;

/// Images above this are refused; real drivers stay below 100 MiB.
const IMAGE_LIMIT_BYTES: u32 = 256 << 20;

/// "The Windows loader limits the number of sections to 96" (PE format, COFF file header).
const SECTION_LIMIT: u16 = 96;

/// Length of the section names of one image together, so that long names cannot multiply.
const SECTION_NAME_LIMIT_BYTES: usize = 256;

/// A section header, with its name resolved.
#[derive(Clone, Debug)]
pub(crate) struct SectionHeader {
    pub(crate) name: String,
    pub(crate) rva: u32,
    /// Size in memory; where the header says 0, the size in the file, as Windows takes it.
    pub(crate) virtual_bytes: u32,
    pub(crate) raw_offset: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) characteristics: u32,
}

/// The checked headers of an image.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    pub(crate) characteristics: u16,
    pub(crate) time_date_stamp: u32,
    pub(crate) entry_point_rva: u32,
    pub(crate) preferred_base: u64,
    pub(crate) section_alignment: u32,
    pub(crate) image_bytes: u32,
    pub(crate) header_bytes: u32,
    pub(crate) check_sum: u32,
    pub(crate) subsystem: u16,
    pub(crate) dll_characteristics: u16,
    /// RVA and size of each present directory, in the order of the PE format.
    directories: Vec<(u32, u32)>,
    pub(crate) sections: Vec<SectionHeader>,
}

impl Headers {
    pub(crate) fn parse(file: &[u8]) -> Result<Self, ImageError> {
        let nt_offset = nt_headers_offset(file)?;
        let coff_offset = nt_offset.saturating_add(4);
        let coff: &ImageFileHeader = need(file, coff_offset, "the file header")?;
        check_machine(coff)?;
        let optional_offset = coff_offset.saturating_add(20);
        let magic = u16_at(file, optional_offset).ok_or_else(|| {
            truncated(file, "the optional header", u64::from(optional_offset) + 2)
        })?;
        if magic != pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC {
            return Err(ImageError::WrongMagic { found: magic });
        }
        let characteristics = coff.characteristics.get(LE).0;
        if characteristics & pe::IMAGE_FILE_EXECUTABLE_IMAGE.0 == 0 {
            return Err(ImageError::NotExecutable { found: characteristics });
        }
        let optional: &ImageOptionalHeader64 = need(file, optional_offset, "the optional header")?;
        check_optional(optional, coff.size_of_optional_header.get(LE))?;
        let subsystem = optional.subsystem.get(LE).0;
        if subsystem != pe::IMAGE_SUBSYSTEM_NATIVE.0 {
            return Err(ImageError::NotNative { found: subsystem_name(subsystem) });
        }
        let directories = read_directories(file, optional_offset, coff, optional)?;
        let section_offset =
            optional_offset.saturating_add(u32::from(coff.size_of_optional_header.get(LE)));
        let mut headers = Self {
            characteristics,
            time_date_stamp: coff.time_date_stamp.get(LE),
            entry_point_rva: optional.address_of_entry_point.get(LE),
            preferred_base: optional.image_base.get(LE),
            section_alignment: optional.section_alignment.get(LE),
            image_bytes: optional.size_of_image.get(LE),
            header_bytes: optional.size_of_headers.get(LE),
            check_sum: optional.check_sum.get(LE),
            subsystem,
            dll_characteristics: optional.dll_characteristics.get(LE).0,
            directories,
            sections: read_sections(file, section_offset, coff)?,
        };
        headers.check_layout(file)?;
        Ok(headers)
    }

    /// Returns RVA and size of a directory (`IMAGE_DIRECTORY_ENTRY_*`) that is not empty.
    pub(crate) fn directory(&self, index: usize) -> Option<(u32, u32)> {
        self.directories.get(index).copied().filter(|&(rva, size)| rva != 0 && size != 0)
    }

    /// Says whether file and memory have one layout, because sections are aligned below a page.
    pub(crate) fn is_flat(&self) -> bool {
        self.section_alignment < PAGE_BYTES
    }

    fn check_layout(&mut self, file: &[u8]) -> Result<(), ImageError> {
        let image_bytes = self.image_bytes;
        if u64::from(self.header_bytes) > file.len() as u64 {
            return Err(truncated(file, "the headers", u64::from(self.header_bytes)));
        }
        if self.header_bytes == 0 || self.header_bytes > image_bytes {
            return Err(ImageError::BadField {
                field: "SizeOfHeaders",
                expected: "between 1 and SizeOfImage",
                found: u64::from(self.header_bytes),
            });
        }
        if self.entry_point_rva >= image_bytes {
            return Err(ImageError::BadField {
                field: "AddressOfEntryPoint",
                expected: "inside the image",
                found: u64::from(self.entry_point_rva),
            });
        }
        let alignment = u64::from(self.section_alignment);
        let mut expected_rva = align_up(u64::from(self.header_bytes), alignment);
        for section in &self.sections {
            // "The VAs for sections must be assigned by the linker so that they are in ascending
            // order and adjacent, and they must be a multiple of the SectionAlignment value."
            // Where file and memory have one layout, gaps of the file are gaps of memory.
            let is_in_place = if self.section_alignment < PAGE_BYTES {
                u64::from(section.rva) >= expected_rva
            } else {
                u64::from(section.rva) == expected_rva
            };
            if !is_in_place {
                return Err(ImageError::SectionOutOfPlace {
                    section: section.name.clone(),
                    expected_rva,
                    found_rva: section.rva,
                });
            }
            let end_rva = u64::from(section.rva) + u64::from(section.virtual_bytes);
            if end_rva > u64::from(image_bytes) {
                return Err(ImageError::SectionBeyondImage {
                    section: section.name.clone(),
                    end_rva,
                    image_bytes,
                });
            }
            check_raw_data(file, section, self.section_alignment)?;
            expected_rva = align_up(end_rva, alignment);
        }
        Ok(())
    }
}

fn nt_headers_offset(file: &[u8]) -> Result<u32, ImageError> {
    if u16_at(file, 0) != Some(pe::IMAGE_DOS_SIGNATURE) {
        let found = match file.get(..2) {
            Some(bytes) => quoted(bytes),
            None => format!("a file of {} bytes", file.len()),
        };
        return Err(ImageError::NotPe { found });
    }
    let dos: &ImageDosHeader = need(file, 0, "the DOS header")?;
    let offset = dos.e_lfanew.get(LE);
    match u32_at(file, offset) {
        Some(pe::IMAGE_NT_SIGNATURE) => Ok(offset),
        Some(other) => Err(ImageError::NoPeHeader { offset, found: quoted(&other.to_le_bytes()) }),
        None => Err(truncated(file, "the PE header", u64::from(offset) + 4)),
    }
}

fn check_machine(coff: &ImageFileHeader) -> Result<(), ImageError> {
    let machine = coff.machine.get(LE);
    if machine == pe::IMAGE_FILE_MACHINE_AMD64 {
        return Ok(());
    }
    let name = match machine {
        pe::IMAGE_FILE_MACHINE_I386 => " (32-bit x86)",
        pe::IMAGE_FILE_MACHINE_ARM64 => " (Arm64)",
        pe::IMAGE_FILE_MACHINE_ARMNT => " (32-bit Arm)",
        pe::IMAGE_FILE_MACHINE_IA64 => " (Itanium)",
        pe::IMAGE_FILE_MACHINE_ARM64EC => " (Arm64EC)",
        pe::IMAGE_FILE_MACHINE_ARM64X => " (Arm64X)",
        _ => "",
    };
    Err(ImageError::WrongMachine { found: format!("{:#06x}{name}", machine.0) })
}

fn check_optional(optional: &ImageOptionalHeader64, header_bytes: u16) -> Result<(), ImageError> {
    let bad = |field, expected, found| Err(ImageError::BadField { field, expected, found });
    if header_bytes < 112 {
        let expected = "of at least 112 bytes";
        return bad("SizeOfOptionalHeader", expected, u64::from(header_bytes));
    }
    let section_alignment = optional.section_alignment.get(LE);
    let file_alignment = optional.file_alignment.get(LE);
    if !section_alignment.is_power_of_two() || section_alignment > 0x20_0000 {
        let expected = "to be a power of two up to 2 MiB";
        return bad("SectionAlignment", expected, u64::from(section_alignment));
    }
    if !file_alignment.is_power_of_two() || file_alignment > 0x1_0000 {
        let expected = "to be a power of two up to 64 KiB";
        return bad("FileAlignment", expected, u64::from(file_alignment));
    }
    // "If the SectionAlignment is less than the architecture's page size, then FileAlignment must
    // match SectionAlignment."
    if section_alignment < PAGE_BYTES && file_alignment != section_alignment {
        let expected = "equal to a SectionAlignment below the page size";
        return bad("FileAlignment", expected, u64::from(file_alignment));
    }
    if file_alignment > section_alignment {
        return bad("FileAlignment", "at most SectionAlignment", u64::from(file_alignment));
    }
    let image_bytes = optional.size_of_image.get(LE);
    if image_bytes == 0 || image_bytes > IMAGE_LIMIT_BYTES {
        let expected = "between 1 byte and 256 MiB";
        return bad("SizeOfImage", expected, u64::from(image_bytes));
    }
    let image_base = optional.image_base.get(LE);
    // "Must be a multiple of 64 K."
    if image_base & 0xFFFF != 0 {
        return bad("ImageBase", "to be a multiple of 64 KiB", image_base);
    }
    Ok(())
}

fn read_directories(
    file: &[u8],
    optional_offset: u32,
    coff: &ImageFileHeader,
    optional: &ImageOptionalHeader64,
) -> Result<Vec<(u32, u32)>, ImageError> {
    // A count above 16 is legal, the rest is ignored; one beyond the header is cut by its size.
    let room = u32::from(coff.size_of_optional_header.get(LE)).saturating_sub(112) / 8;
    let count = optional.number_of_rva_and_sizes.get(LE).min(16).min(room);
    (0..count)
        .map(|index| {
            let offset = optional_offset.saturating_add(112 + index * 8);
            let entry: &ImageDataDirectory = need(file, offset, "the data directories")?;
            Ok((entry.virtual_address.get(LE), entry.size.get(LE)))
        })
        .collect()
}

fn read_sections(
    file: &[u8],
    section_offset: u32,
    coff: &ImageFileHeader,
) -> Result<Vec<SectionHeader>, ImageError> {
    let count = coff.number_of_sections.get(LE);
    if count == 0 || count > SECTION_LIMIT {
        return Err(ImageError::BadField {
            field: "NumberOfSections",
            expected: "between 1 and 96",
            found: u64::from(count),
        });
    }
    let symbols = coff.pointer_to_symbol_table.get(LE);
    let names = coff.number_of_symbols.get(LE).checked_mul(18);
    let strings = names.and_then(|bytes| symbols.checked_add(bytes)).filter(|_| symbols != 0);
    (0..u32::from(count))
        .map(|index| {
            let offset = section_offset.saturating_add(index * 40);
            let header: &ImageSectionHeader = need(file, offset, "the section table")?;
            let virtual_bytes = match header.virtual_size.get(LE) {
                0 => header.size_of_raw_data.get(LE),
                size => size,
            };
            Ok(SectionHeader {
                name: section_name(file, &header.name, strings),
                rva: header.virtual_address.get(LE),
                virtual_bytes,
                raw_offset: header.pointer_to_raw_data.get(LE),
                raw_bytes: header.size_of_raw_data.get(LE),
                characteristics: header.characteristics.get(LE).0,
            })
        })
        .collect()
}

/// A name of more than eight bytes is `/` and a decimal offset into the COFF string table; only
/// mingw writes such into images, for DWARF.
fn section_name(file: &[u8], raw: &[u8; 8], strings: Option<u32>) -> String {
    let len = raw.iter().position(|&byte| byte == 0).unwrap_or(raw.len());
    let short = String::from_utf8_lossy(raw.get(..len).unwrap_or_default()).into_owned();
    let offset = short.strip_prefix('/').and_then(|digits| digits.parse::<u32>().ok());
    let long = offset
        .zip(strings)
        .and_then(|(offset, strings)| strings.checked_add(offset))
        .and_then(|at| text_at(file, at, SECTION_NAME_LIMIT_BYTES));
    long.unwrap_or(short)
}

fn check_raw_data(
    file: &[u8],
    section: &SectionHeader,
    section_alignment: u32,
) -> Result<(), ImageError> {
    if section.raw_bytes == 0 || section.raw_offset == 0 {
        return Ok(());
    }
    if slice_at(file, section.raw_offset, section.raw_bytes).is_none() {
        let needed = u64::from(section.raw_offset) + u64::from(section.raw_bytes);
        return Err(truncated(file, &format!("section `{}`", section.name), needed));
    }
    // PE format, section data: below the page size "the section's file offset must match its
    // location in memory", because the loader maps the file as it is.
    if section_alignment < PAGE_BYTES && section.raw_offset != section.rva {
        return Err(ImageError::BadField {
            field: "PointerToRawData",
            expected: "equal to VirtualAddress where sections are aligned below a page",
            found: u64::from(section.raw_offset),
        });
    }
    Ok(())
}

fn need<'a, T: object::pod::Pod>(
    file: &'a [u8],
    offset: u32,
    what: &str,
) -> Result<&'a T, ImageError> {
    let needed = u64::from(offset) + size_of::<T>() as u64;
    pod_at(file, offset).ok_or_else(|| truncated(file, what, needed))
}

fn truncated(file: &[u8], what: &str, needed_bytes: u64) -> ImageError {
    ImageError::Truncated { what: what.to_owned(), needed_bytes, file_bytes: file.len() as u64 }
}

fn quoted(bytes: &[u8]) -> String {
    format!("`{}`", bytes.escape_ascii())
}

fn subsystem_name(subsystem: u16) -> String {
    let name = match subsystem {
        2 => " (Windows program)",
        3 => " (console program)",
        9 => " (Windows CE)",
        10..=13 => " (EFI)",
        14 => " (Xbox)",
        16 => " (boot application)",
        _ => "",
    };
    format!("{subsystem}{name}")
}
