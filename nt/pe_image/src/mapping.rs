//! The image as it lies in memory: bytes, sections, protection, relocation.

use std::sync::Arc;

use object::pe;

use crate::{
    bytes::{align_up, slice_at, u16_at, u32_at, u64_at},
    error::ImageError,
    headers::{Headers, PAGE_BYTES, SectionHeader},
};

/// More relocations than any real image has. A file may map one part of itself many times over.
const RELOCATION_LIMIT: usize = 4 << 20;

/// Protection of image pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionPerms {
    /// `IMAGE_SCN_MEM_READ`.
    pub read: bool,
    /// `IMAGE_SCN_MEM_WRITE`.
    pub write: bool,
    /// `IMAGE_SCN_MEM_EXECUTE`.
    pub execute: bool,
}

impl SectionPerms {
    /// The headers: readable.
    pub const READ_ONLY: Self = Self { read: true, write: false, execute: false };
    /// Every access.
    pub const ALL: Self = Self { read: true, write: true, execute: true };

    /// Returns what either allows.
    pub fn union(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
            execute: self.execute || other.execute,
        }
    }
}

/// One section of a mapped image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name, without padding; long names of mingw are resolved.
    pub name: String,
    /// Where it starts.
    pub rva: u32,
    /// Its size in memory, not rounded to pages.
    pub size_bytes: u32,
    /// Its protection as the header states it.
    pub perms: SectionPerms,
    /// Whether it is paged out and in: its name starts with `PAGE`
    /// (<https://learn.microsoft.com/windows-hardware/drivers/kernel/making-drivers-pageable>).
    pub pageable: bool,
    /// Whether it is gone after initialisation (`IMAGE_SCN_MEM_DISCARDABLE`).
    pub discardable: bool,
}

impl Section {
    /// Says whether the section holds this RVA.
    pub fn contains(&self, rva: u32) -> bool {
        rva.checked_sub(self.rva).is_some_and(|offset| offset < self.size_bytes)
    }

    fn from_header(header: &SectionHeader) -> Self {
        let has = |flag: pe::SectionFlags| header.characteristics & flag.0 != 0;
        Self {
            name: header.name.clone(),
            rva: header.rva,
            size_bytes: header.virtual_bytes,
            perms: SectionPerms {
                read: has(pe::IMAGE_SCN_MEM_READ),
                write: has(pe::IMAGE_SCN_MEM_WRITE),
                execute: has(pe::IMAGE_SCN_MEM_EXECUTE),
            },
            pageable: header.name.starts_with("PAGE"),
            discardable: has(pe::IMAGE_SCN_MEM_DISCARDABLE),
        }
    }
}

/// How one relocation changes the bytes at its RVA (`IMAGE_REL_BASED_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocationKind {
    /// The high 16 bits of the difference are added to a `WORD`.
    High,
    /// The low 16 bits of the difference are added to a `WORD`.
    Low,
    /// The low 32 bits of the difference are added to a `DWORD`.
    HighLow,
    /// The difference is added to a `ULONGLONG`.
    Dir64,
}

impl RelocationKind {
    fn width_bytes(self) -> u32 {
        match self {
            Self::High | Self::Low => 2,
            Self::HighLow => 4,
            Self::Dir64 => 8,
        }
    }
}

/// A place that depends on the base of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// The first byte to change; all its bytes lie in the image.
    pub rva: u32,
    /// How it changes.
    pub kind: RelocationKind,
}

/// An image as the loader puts it into memory: headers, sections, zeroes between them.
#[derive(Clone, Debug)]
pub struct MappedImage {
    /// `SizeOfImage` bytes, rounded up to pages.
    pub bytes: Vec<u8>,
    /// The sections by ascending RVA. The headers before them are no section.
    pub sections: Vec<Section>,
    /// The address that the bytes are relocated for.
    base: u64,
    preferred_base: u64,
    header_bytes: u32,
    is_flat: bool,
    is_fixed: bool,
    relocations: Arc<[Relocation]>,
}

impl MappedImage {
    pub(crate) fn from_file(file: &[u8], headers: &Headers) -> Result<Self, ImageError> {
        let mapped_bytes = align_up(u64::from(headers.image_bytes), u64::from(PAGE_BYTES));
        let mut bytes = vec![0; usize::try_from(mapped_bytes).unwrap_or_default()];
        if headers.is_flat() {
            copy(&mut bytes, 0, file);
        } else {
            let head = slice_at(file, 0, headers.header_bytes).unwrap_or_default();
            copy(&mut bytes, 0, head);
            for section in &headers.sections {
                copy(&mut bytes, section.rva, section_data(file, section));
            }
        }
        let mut image = Self {
            bytes,
            sections: headers.sections.iter().map(Section::from_header).collect(),
            base: headers.preferred_base,
            preferred_base: headers.preferred_base,
            header_bytes: headers.header_bytes,
            is_flat: headers.is_flat(),
            is_fixed: false,
            relocations: Arc::new([]),
        };
        let directory = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC);
        image.is_fixed =
            directory.is_none() && headers.characteristics & pe::IMAGE_FILE_RELOCS_STRIPPED.0 != 0;
        if let Some((rva, size_bytes)) = directory {
            image.relocations = parse_relocations(&image.bytes, rva, size_bytes)?.into();
        }
        Ok(image)
    }

    /// Returns the address that the bytes are relocated for; at first the preferred one.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Returns the size of the headers, which are readable in memory.
    pub fn header_bytes(&self) -> u32 {
        self.header_bytes
    }

    /// Says whether file and memory have one layout, because sections are aligned below a page.
    ///
    /// Sections then share pages, and such an image is one mapping in which every access is
    /// allowed; see [`page_perms`](Self::page_perms).
    pub fn is_flat(&self) -> bool {
        self.is_flat
    }

    /// Returns the places to change when the base changes.
    pub fn relocations(&self) -> &[Relocation] {
        &self.relocations
    }

    /// Returns the protection of the page that holds this RVA.
    ///
    /// Pages between the sections have none. An image whose sections are aligned below a page has
    /// no protection between its parts.
    pub fn page_perms(&self, rva: u32) -> SectionPerms {
        if self.is_flat {
            return SectionPerms::ALL;
        }
        let page = u64::from(rva / PAGE_BYTES * PAGE_BYTES);
        if page < u64::from(self.header_bytes) {
            return SectionPerms::READ_ONLY;
        }
        let holds_page = |section: &&Section| {
            let end = u64::from(section.rva) + u64::from(section.size_bytes);
            u64::from(section.rva) < page + u64::from(PAGE_BYTES) && page < end
        };
        let sections = self.sections.iter().filter(holds_page);
        sections.fold(SectionPerms::default(), |perms, section| perms.union(section.perms))
    }

    /// Returns the section that holds this RVA.
    pub fn section_at(&self, rva: u32) -> Option<&Section> {
        self.sections.iter().find(|section| section.contains(rva))
    }

    /// Moves the image to another base.
    ///
    /// An image without relocation directory is position independent and needs no change, unless
    /// the file header says that relocations were stripped: then it "must be loaded at its
    /// preferred base address. If the base address is not available, the loader reports an error"
    /// (PE format, characteristics).
    pub fn relocate(&mut self, base: u64) -> Result<(), ImageError> {
        if base == self.base {
            return Ok(());
        }
        if self.is_fixed {
            let preferred_base = self.preferred_base;
            return Err(ImageError::NotRelocatable { preferred_base, found: base });
        }
        let delta = base.wrapping_sub(self.base);
        for relocation in Arc::clone(&self.relocations).iter() {
            self.apply(*relocation, delta);
        }
        self.base = base;
        Ok(())
    }

    /// Copies `out.len()` bytes from an RVA; false if any of them lies outside the image.
    ///
    /// This is the reader that [`unwind`](crate::unwind) wants.
    pub fn read(&self, rva: u32, out: &mut [u8]) -> bool {
        let len_bytes = u32::try_from(out.len()).unwrap_or(u32::MAX);
        match slice_at(&self.bytes, rva, len_bytes) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    fn apply(&mut self, relocation: Relocation, delta: u64) {
        let rva = relocation.rva;
        let [low0, low1, high0, high1, ..] = delta.to_le_bytes();
        let low = u16::from_le_bytes([low0, low1]);
        let high = u16::from_le_bytes([high0, high1]);
        let bytes = &self.bytes;
        let changed = match relocation.kind {
            RelocationKind::High => {
                u16_at(bytes, rva).map(|old| old.wrapping_add(high).to_le_bytes().to_vec())
            }
            RelocationKind::Low => {
                u16_at(bytes, rva).map(|old| old.wrapping_add(low).to_le_bytes().to_vec())
            }
            RelocationKind::HighLow => {
                let both = u32::from_le_bytes([low0, low1, high0, high1]);
                u32_at(bytes, rva).map(|old| old.wrapping_add(both).to_le_bytes().to_vec())
            }
            RelocationKind::Dir64 => {
                u64_at(bytes, rva).map(|old| old.wrapping_add(delta).to_le_bytes().to_vec())
            }
        };
        copy(&mut self.bytes, rva, &changed.unwrap_or_default());
    }
}

/// The bytes of the file that appear in the section: as many as it has, up to the end of its last
/// page, because whole pages are mapped.
fn section_data<'a>(file: &'a [u8], section: &SectionHeader) -> &'a [u8] {
    if section.raw_offset == 0 {
        return &[];
    }
    let room = align_up(u64::from(section.virtual_bytes), u64::from(PAGE_BYTES));
    let len_bytes = u64::from(section.raw_bytes).min(room);
    let len_bytes = u32::try_from(len_bytes).unwrap_or(u32::MAX);
    slice_at(file, section.raw_offset, len_bytes).unwrap_or_default()
}

/// Copies as much as fits.
fn copy(to: &mut [u8], rva: u32, from: &[u8]) {
    let Ok(start) = usize::try_from(rva) else { return };
    let Some(room) = to.get_mut(start..) else { return };
    let len = room.len().min(from.len());
    if let (Some(room), Some(from)) = (room.get_mut(..len), from.get(..len)) {
        room.copy_from_slice(from);
    }
}

fn parse_relocations(
    image: &[u8],
    rva: u32,
    size_bytes: u32,
) -> Result<Vec<Relocation>, ImageError> {
    let bad = |expected, found: u32| {
        let found = u64::from(found);
        Err(ImageError::BadDirectory { directory: "relocation directory", expected, found })
    };
    let Some(directory) = slice_at(image, rva, size_bytes) else {
        return bad("to lie inside the image", rva);
    };
    let mut relocations = Vec::new();
    let mut at = 0;
    while let (Some(page_rva), Some(block_bytes)) =
        (u32_at(directory, at), u32_at(directory, at + 4))
    {
        if block_bytes == 0 {
            break;
        }
        // A block serves one page; 0x4000 bytes would name each of its bytes twice.
        if !(8..=0x4000).contains(&block_bytes) {
            return bad("a block of 8 to 0x4000 bytes", block_bytes);
        }
        let Some(block) = slice_at(directory, at, block_bytes) else {
            return bad("the last block to end with the directory", block_bytes);
        };
        for entry in block.get(8..).unwrap_or_default().chunks_exact(2) {
            let entry = entry.try_into().map_or(0, u16::from_le_bytes);
            let kind = match pe::BaseRelocationType(entry >> 12) {
                pe::IMAGE_REL_BASED_ABSOLUTE => continue,
                pe::IMAGE_REL_BASED_HIGH => RelocationKind::High,
                pe::IMAGE_REL_BASED_LOW => RelocationKind::Low,
                pe::IMAGE_REL_BASED_HIGHLOW => RelocationKind::HighLow,
                pe::IMAGE_REL_BASED_DIR64 => RelocationKind::Dir64,
                _ => return bad("types 0, 1, 2, 3 and 10", u32::from(entry >> 12)),
            };
            let rva = page_rva.saturating_add(u32::from(entry & 0xFFF));
            if slice_at(image, rva, kind.width_bytes()).is_none() {
                return bad("targets inside the image", rva);
            }
            if relocations.len() >= RELOCATION_LIMIT {
                return bad("at most 4,194,304 relocations", rva);
            }
            relocations.push(Relocation { rva, kind });
        }
        at = at.saturating_add(block_bytes);
    }
    Ok(relocations)
}
