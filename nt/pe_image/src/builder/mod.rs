//! Builds small driver images in memory, for tests and for the fuzzer.
//!
//! It writes what it is told, so that it can also write nonsense: nothing is checked.

pub mod dwarf;
pub mod pdb;

use object::pe;

/// Headers take the first two blocks of the file, which is room for 15 sections.
const HEADER_BYTES: u32 = 0x400;
const NT_OFFSET: u32 = 0x80;
const FILE_ALIGNMENT: u32 = 0x200;

/// Code that runs.
pub const CODE: u32 =
    pe::IMAGE_SCN_CNT_CODE.0 | pe::IMAGE_SCN_MEM_EXECUTE.0 | pe::IMAGE_SCN_MEM_READ.0;
/// Constants.
pub const CONSTANTS: u32 = pe::IMAGE_SCN_CNT_INITIALIZED_DATA.0 | pe::IMAGE_SCN_MEM_READ.0;
/// Variables.
pub const VARIABLES: u32 = CONSTANTS | pe::IMAGE_SCN_MEM_WRITE.0;

/// What to write into the fields of the headers; change it to change them.
#[derive(Clone, Debug)]
pub struct HeaderFields {
    /// `Machine`.
    pub machine: u16,
    /// `Characteristics` of the file.
    pub characteristics: u16,
    /// `Magic` of the optional header.
    pub magic: u16,
    /// `ImageBase`.
    pub image_base: u64,
    /// `AddressOfEntryPoint`.
    pub entry_point_rva: u32,
    /// `SectionAlignment`; below a page, `FileAlignment` is the same.
    pub section_alignment: u32,
    /// `Subsystem`.
    pub subsystem: u16,
    /// `SizeOfImage`, if not what the sections need.
    pub image_bytes: Option<u32>,
    /// `NumberOfSections`, if not how many there are.
    pub section_count: Option<u16>,
}

impl Default for HeaderFields {
    fn default() -> Self {
        Self {
            machine: pe::IMAGE_FILE_MACHINE_AMD64.0,
            characteristics: pe::IMAGE_FILE_EXECUTABLE_IMAGE.0
                | pe::IMAGE_FILE_LARGE_ADDRESS_AWARE.0,
            magic: pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC,
            image_base: 0x1_4000_0000,
            entry_point_rva: 0,
            section_alignment: 0x1000,
            subsystem: pe::IMAGE_SUBSYSTEM_NATIVE.0,
            image_bytes: None,
            section_count: None,
        }
    }
}

/// An image under construction.
#[derive(Clone, Debug, Default)]
pub struct ImageBuilder {
    /// The headers.
    pub fields: HeaderFields,
    sections: Vec<SectionPlan>,
    directories: [(u32, u32); 16],
}

#[derive(Clone, Debug)]
struct SectionPlan {
    name: String,
    rva: u32,
    characteristics: u32,
    bytes: Vec<u8>,
}

impl ImageBuilder {
    /// Starts an image without sections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts an image without sections and with these headers.
    pub fn with_fields(fields: HeaderFields) -> Self {
        Self { fields, ..Self::default() }
    }

    /// Returns the RVA that the next section will have.
    pub fn next_rva(&self) -> u32 {
        let end = self.sections.last().map_or(HEADER_BYTES, |last| last.rva + len(&last.bytes));
        end.next_multiple_of(self.fields.section_alignment)
    }

    /// Adds a section and returns its RVA.
    pub fn section(&mut self, name: &str, characteristics: u32, bytes: &[u8]) -> u32 {
        let rva = self.next_rva();
        let (name, bytes) = (name.to_owned(), bytes.to_vec());
        self.sections.push(SectionPlan { name, rva, characteristics, bytes });
        rva
    }

    /// Sets a data directory (`IMAGE_DIRECTORY_ENTRY_*`).
    pub fn directory(&mut self, index: usize, rva: u32, size_bytes: u32) {
        if let Some(directory) = self.directories.get_mut(index) {
            *directory = (rva, size_bytes);
        }
    }

    /// Adds a section `.idata` with imports by name and returns the slot of each, in order.
    pub fn imports(&mut self, modules: &[(&str, &[&str])]) -> Vec<u32> {
        let rva = self.next_rva();
        let mut slots = Vec::new();
        let descriptor_bytes = 20 * (modules.len() + 1);
        let mut descriptors = Vec::new();
        let mut rest: Vec<u8> = Vec::new();
        for (module, names) in modules {
            let here = |rest: &[u8]| rva + len(rest) + u32::try_from(descriptor_bytes).unwrap_or(0);
            let mut thunks = Vec::new();
            for name in *names {
                thunks.extend(u64::from(here(&rest)).to_le_bytes());
                rest.extend([0, 0]);
                rest.extend(name.bytes().chain([0]));
                rest.resize(rest.len().next_multiple_of(2), 0);
            }
            thunks.extend([0; 8]);
            let module_rva = here(&rest);
            rest.extend(module.bytes().chain([0]));
            rest.resize(rest.len().next_multiple_of(8), 0);
            let (name_table, address_table) = (here(&rest), here(&rest) + len(&thunks));
            slots.extend((0_u32..).zip(*names).map(|(slot, _)| address_table + slot * 8));
            rest.extend_from_slice(&thunks);
            rest.extend_from_slice(&thunks);
            for field in [name_table, 0, 0, module_rva, address_table] {
                descriptors.extend(field.to_le_bytes());
            }
        }
        descriptors.extend([0; 20]);
        let size_bytes = len(&descriptors);
        descriptors.extend(rest);
        self.section(".idata", VARIABLES, &descriptors);
        self.directory(pe::IMAGE_DIRECTORY_ENTRY_IMPORT, rva, size_bytes);
        slots
    }

    /// Writes the file.
    pub fn build(&self) -> Vec<u8> {
        let fields = &self.fields;
        let is_flat = fields.section_alignment < 0x1000;
        let file_alignment = if is_flat { fields.section_alignment } else { FILE_ALIGNMENT };
        let mut strings: Vec<u8> = Vec::new();
        let mut headers = Vec::new();
        let mut body: Vec<u8> = vec![0; usize::try_from(HEADER_BYTES).unwrap_or(0)];
        for section in &self.sections {
            let start = if is_flat { section.rva } else { len(&body) };
            body.resize(usize::try_from(start).unwrap_or(0), 0);
            body.extend_from_slice(&section.bytes);
            let raw_bytes = len(&section.bytes).next_multiple_of(file_alignment);
            body.resize(usize::try_from(start + raw_bytes).unwrap_or(0), 0);
            headers.extend(section_name(&section.name, &mut strings));
            for field in [len(&section.bytes), section.rva, raw_bytes, start, 0, 0, 0] {
                headers.extend(field.to_le_bytes());
            }
            headers.extend(section.characteristics.to_le_bytes());
        }
        let symbols = if strings.is_empty() { 0 } else { len(&body) };
        let mut file = self.nt_headers(symbols, file_alignment);
        file.extend(headers);
        let end = file.len().min(body.len());
        if let (Some(head), Some(file)) = (body.get_mut(..end), file.get(..end)) {
            head.copy_from_slice(file);
        }
        if !strings.is_empty() {
            body.extend((len(&strings) + 4).to_le_bytes());
            body.extend(strings);
        }
        body
    }

    fn nt_headers(&self, symbols: u32, file_alignment: u32) -> Vec<u8> {
        let fields = &self.fields;
        let count = u16::try_from(self.sections.len()).unwrap_or(u16::MAX);
        let mut file = b"MZ".to_vec();
        file.resize(0x3C, 0);
        file.extend(NT_OFFSET.to_le_bytes());
        file.resize(usize::try_from(NT_OFFSET).unwrap_or(0), 0);
        file.extend(b"PE\0\0");
        file.extend(fields.machine.to_le_bytes());
        file.extend(fields.section_count.unwrap_or(count).to_le_bytes());
        for field in [0, symbols, 0] {
            file.extend(field.to_le_bytes());
        }
        file.extend(240_u16.to_le_bytes());
        file.extend(fields.characteristics.to_le_bytes());
        file.extend(fields.magic.to_le_bytes());
        file.extend([14, 0]);
        for field in [0, 0, 0, fields.entry_point_rva, 0x1000] {
            file.extend(field.to_le_bytes());
        }
        file.extend(fields.image_base.to_le_bytes());
        file.extend(fields.section_alignment.to_le_bytes());
        file.extend(file_alignment.to_le_bytes());
        for version in [10_u16, 0, 0, 0, 10, 0, 0, 0] {
            file.extend(version.to_le_bytes());
        }
        let image_bytes = fields.image_bytes.unwrap_or_else(|| self.next_rva());
        for field in [image_bytes, HEADER_BYTES, 0] {
            file.extend(field.to_le_bytes());
        }
        file.extend(fields.subsystem.to_le_bytes());
        file.extend([0; 2]);
        for stack_or_heap in [0x10_0000_u64, 0x1000, 0x10_0000, 0x1000] {
            file.extend(stack_or_heap.to_le_bytes());
        }
        file.extend([0; 4]);
        file.extend(16_u32.to_le_bytes());
        for (rva, size_bytes) in self.directories {
            file.extend(rva.to_le_bytes());
            file.extend(size_bytes.to_le_bytes());
        }
        file
    }
}

/// Long names go into the string table, as mingw writes them.
fn section_name(name: &str, strings: &mut Vec<u8>) -> [u8; 8] {
    let short = if name.len() <= 8 {
        name.to_owned()
    } else {
        let offset = strings.len() + 4;
        strings.extend(name.bytes().chain([0]));
        format!("/{offset}")
    };
    let mut field = [0; 8];
    for (to, from) in field.iter_mut().zip(short.bytes()) {
        *to = from;
    }
    field
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
