//! Imports: which routines of which modules the loader must bind, and where.

use object::{
    LittleEndian as LE,
    pe::{self, ImageDelayloadDescriptor, ImageImportDescriptor},
};

use crate::{
    bytes::{pod_at, text_at, u16_at, u64_at},
    error::ImageError,
    headers::Headers,
};

/// More than any real image has; bounds descriptors that share one table.
const IMPORT_LIMIT: usize = 65_536;

/// Longest name of a module or routine that is accepted; the linkers' own limit is 4096 bytes.
const NAME_LIMIT_BYTES: usize = 4096;

/// Bounds the text of all names together, so that names cannot multiply by being shared.
const TEXT_LIMIT_BYTES: usize = 4 << 20;

/// What an import asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportName {
    /// The routine of this name.
    Name(String),
    /// The export with this number.
    Ordinal(u16),
}

/// One slot that the loader fills with the address of a routine or variable of another module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// File name of the module, as spelled in the image.
    pub module: String,
    /// What is wanted of it.
    pub name: ImportName,
    /// The slot: eight bytes inside the image.
    pub iat_rva: u32,
    /// Whether it is bound at its first call instead of at load.
    pub delay: bool,
}

pub(crate) fn parse(image: &[u8], headers: &Headers) -> Result<Vec<Import>, ImageError> {
    let mut imports = Parser { image, imports: Vec::new(), text_bytes: 0 };
    if let Some((rva, _)) = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_IMPORT) {
        imports.parse_descriptors(rva)?;
    }
    if let Some((rva, _)) = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT) {
        imports.parse_delay_descriptors(rva)?;
    }
    Ok(imports.imports)
}

struct Parser<'a> {
    image: &'a [u8],
    imports: Vec<Import>,
    text_bytes: usize,
}

/// One module's import address table and the table that names its slots.
struct Tables {
    module_rva: u32,
    name_table_rva: u32,
    address_table_rva: u32,
    delay: bool,
}

impl Parser<'_> {
    fn parse_descriptors(&mut self, rva: u32) -> Result<(), ImageError> {
        let mut at = rva;
        loop {
            let Some(entry) = pod_at::<ImageImportDescriptor>(self.image, at) else {
                return bad("a last descriptor of zeroes inside the image", at);
            };
            let address_table_rva = entry.first_thunk.get(LE);
            let module_rva = entry.name.get(LE);
            if address_table_rva == 0 || module_rva == 0 {
                return Ok(());
            }
            // Old linkers leave the first table out; the slots then hold the names themselves.
            let name_table_rva = match entry.original_first_thunk.get(LE) {
                0 => address_table_rva,
                table => table,
            };
            self.parse_tables(&Tables {
                module_rva,
                name_table_rva,
                address_table_rva,
                delay: false,
            })?;
            at = at.saturating_add(20);
        }
    }

    fn parse_delay_descriptors(&mut self, rva: u32) -> Result<(), ImageError> {
        let mut at = rva;
        loop {
            let Some(entry) = pod_at::<ImageDelayloadDescriptor>(self.image, at) else {
                return bad("a last delay descriptor of zeroes inside the image", at);
            };
            let module_rva = entry.dll_name_rva.get(LE);
            if module_rva == 0 {
                return Ok(());
            }
            // Without this bit the fields are addresses, a form that only 32-bit linkers wrote.
            let attributes = entry.attributes.get(LE);
            if attributes & 1 == 0 {
                return bad("delay descriptors of RVAs (attribute bit 0)", attributes);
            }
            self.parse_tables(&Tables {
                module_rva,
                name_table_rva: entry.import_name_table_rva.get(LE),
                address_table_rva: entry.import_address_table_rva.get(LE),
                delay: true,
            })?;
            at = at.saturating_add(32);
        }
    }

    fn parse_tables(&mut self, tables: &Tables) -> Result<(), ImageError> {
        let module = self.text(tables.module_rva)?;
        for slot in 0_u32.. {
            let name_at = tables.name_table_rva.saturating_add(slot.saturating_mul(8));
            let iat_rva = tables.address_table_rva.saturating_add(slot.saturating_mul(8));
            let Some(thunk) = u64_at(self.image, name_at) else {
                return bad("a name table that ends with a zero inside the image", name_at);
            };
            if thunk == 0 {
                break;
            }
            if u64_at(self.image, iat_rva).is_none() {
                return bad("address slots inside the image", iat_rva);
            }
            let [low0, low1, ..] = thunk.to_le_bytes();
            let name = if thunk & pe::IMAGE_ORDINAL_FLAG64 != 0 {
                ImportName::Ordinal(u16::from_le_bytes([low0, low1]))
            } else {
                let Ok(hint_rva) = u32::try_from(thunk) else {
                    return bad("name RVAs below 2^32", u32::MAX);
                };
                if u16_at(self.image, hint_rva).is_none() {
                    return bad("names inside the image", hint_rva);
                }
                ImportName::Name(self.text(hint_rva.saturating_add(2))?)
            };
            if self.imports.len() >= IMPORT_LIMIT {
                return bad("at most 65,536 imports", slot);
            }
            self.charge_text(module.len())?;
            self.imports.push(Import {
                module: module.clone(),
                name,
                iat_rva,
                delay: tables.delay,
            });
        }
        Ok(())
    }

    fn text(&mut self, rva: u32) -> Result<String, ImageError> {
        let Some(text) = text_at(self.image, rva, NAME_LIMIT_BYTES) else {
            return bad("names that end inside the image, after at most 4096 bytes", rva);
        };
        self.charge_text(text.len())?;
        Ok(text)
    }

    fn charge_text(&mut self, len_bytes: usize) -> Result<(), ImageError> {
        self.text_bytes = self.text_bytes.saturating_add(len_bytes);
        if self.text_bytes > TEXT_LIMIT_BYTES {
            return bad(
                "at most 4 MiB of names",
                u32::try_from(self.text_bytes).unwrap_or(u32::MAX),
            );
        }
        Ok(())
    }
}

fn bad<T>(expected: &'static str, found: u32) -> Result<T, ImageError> {
    let found = u64::from(found);
    Err(ImageError::BadDirectory { directory: "import directory", expected, found })
}

/// Modules that exist in user mode only. Importing one makes a program or a DLL, not a driver.
const USER_MODULES: [&str; 20] = [
    "advapi32.dll",
    "bcrypt.dll",
    "combase.dll",
    "comctl32.dll",
    "crypt32.dll",
    "gdi32.dll",
    "kernel32.dll",
    "kernelbase.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "rpcrt4.dll",
    "sechost.dll",
    "setupapi.dll",
    "shell32.dll",
    "ucrtbase.dll",
    "user32.dll",
    "version.dll",
    "ws2_32.dll",
];

/// Names of user-mode module families, by their start.
const USER_MODULE_PREFIXES: [&str; 5] =
    ["api-ms-win-core-", "api-ms-win-crt-", "msvcp", "msvcr", "vcruntime"];

/// Returns the first module that a driver cannot import.
pub(crate) fn first_user_module(imports: &[Import]) -> Option<&str> {
    let is_user = |module: &str| {
        let lower = module.to_ascii_lowercase();
        USER_MODULES.contains(&lower.as_str())
            || USER_MODULE_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
    };
    imports.iter().map(|import| import.module.as_str()).find(|module| is_user(module))
}
