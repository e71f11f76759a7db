//! A driver image: checked once, then asked for facts.

use object::pe;

use crate::{
    directories::{
        debug::{self, CodeView, DebugDirectory},
        exports::{self, Export},
        imports::{self, Import},
        load_config::{self, LoadConfig},
        version::{self, VersionInfo},
    },
    error::ImageError,
    headers::Headers,
    mapping::{MappedImage, Section},
    unwind::FunctionTable,
};

/// A PE32+ image for the x64 kernel.
///
/// Drivers, export drivers (with the DLL bit) and boot drivers are accepted; programs, DLLs of user
/// mode, other machines and damaged files are refused with one sentence each.
#[derive(Clone, Debug)]
pub struct Image {
    headers: Headers,
    mapped: MappedImage,
    imports: Vec<Import>,
    exports: Vec<Export>,
    load_config: Option<LoadConfig>,
    functions: FunctionTable,
    debug: DebugDirectory,
    version: Option<VersionInfo>,
    is_signer_present: bool,
}

impl Image {
    /// Checks the bytes of a file and reads what they state.
    pub fn parse(file: &[u8]) -> Result<Self, ImageError> {
        let headers = Headers::parse(file)?;
        let mapped = MappedImage::from_file(file, &headers)?;
        let imports = imports::parse(&mapped.bytes, &headers)?;
        if let Some(module) = imports::first_user_module(&imports) {
            return Err(ImageError::UserMode { module: module.to_owned() });
        }
        let functions = match headers.directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION) {
            Some((rva, size_bytes)) => FunctionTable::parse(&mapped.bytes, rva, size_bytes),
            None => FunctionTable::default(),
        };
        Ok(Self {
            exports: exports::parse(&mapped.bytes, &headers),
            load_config: load_config::parse(&mapped.bytes, &headers),
            functions,
            debug: debug::parse(file, &mapped.bytes, &headers),
            version: version::parse(&mapped.bytes, &headers),
            is_signer_present: has_certificate(file, &headers),
            imports,
            mapped,
            headers,
        })
    }

    /// Returns the image as it lies in memory at its preferred base; a fresh copy.
    pub fn map(&self) -> MappedImage {
        self.mapped.clone()
    }

    /// Returns the bytes of memory at the preferred base, without copying.
    pub fn mapped(&self) -> &MappedImage {
        &self.mapped
    }

    /// Returns the sections by ascending RVA.
    pub fn sections(&self) -> &[Section] {
        &self.mapped.sections
    }

    /// Returns `SizeOfImage`.
    pub fn image_bytes(&self) -> u32 {
        self.headers.image_bytes
    }

    /// Returns the entry point; none where the field is 0.
    pub fn entry_point_rva(&self) -> Option<u32> {
        Some(self.headers.entry_point_rva).filter(|&rva| rva != 0)
    }

    /// Returns `ImageBase`. The kernel half is not where linkers put drivers, so Windows moves
    /// nearly every one.
    pub fn preferred_base(&self) -> u64 {
        self.headers.preferred_base
    }

    /// Says whether there is a relocation directory.
    ///
    /// Half of real drivers have none, because nothing in them depends on their base. They can be
    /// moved all the same, unless they [must stay](Self::must_stay_at_preferred_base).
    pub fn has_relocations(&self) -> bool {
        self.headers.directory(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC).is_some()
    }

    /// Says whether relocations were stripped from the file (`/FIXED`): such an image "must be
    /// loaded at its preferred base address" (PE format, characteristics).
    pub fn must_stay_at_preferred_base(&self) -> bool {
        !self.has_relocations()
            && self.headers.characteristics & pe::IMAGE_FILE_RELOCS_STRIPPED.0 != 0
    }

    /// Returns the imports, delayed ones last.
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// Returns the exports by ascending ordinal.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Returns the load configuration.
    pub fn load_config(&self) -> Option<&LoadConfig> {
        self.load_config.as_ref()
    }

    /// Returns where the eight bytes of the security cookie are, which the loader initialises.
    pub fn security_cookie_rva(&self) -> Option<u32> {
        self.load_config.as_ref()?.security_cookie_rva
    }

    /// Returns the function table.
    pub fn functions(&self) -> &FunctionTable {
        &self.functions
    }

    /// Returns the CodeView record: which PDB belongs to the image.
    pub fn code_view(&self) -> Option<&CodeView> {
        self.debug.code_view.as_ref()
    }

    /// Returns the file name of the PDB, without the folders of the machine that linked it.
    ///
    /// A caller may look for it beside the image. It is never empty, `.` or `..`.
    pub fn pdb_file_name(&self) -> Option<&str> {
        let path = &self.debug.code_view.as_ref()?.pdb_path;
        path.rsplit(['\\', '/', ':']).next().filter(|name| !matches!(*name, "" | "." | ".."))
    }

    /// Says whether the time stamps are hashes (`/Brepro`).
    pub fn is_reproducible(&self) -> bool {
        self.debug.is_reproducible
    }

    /// Returns the version resource.
    pub fn version(&self) -> Option<&VersionInfo> {
        self.version.as_ref()
    }

    /// Says whether the file carries a certificate table. The signature is not checked.
    pub fn is_signer_present(&self) -> bool {
        self.is_signer_present
    }

    /// Says whether `IMAGE_FILE_DLL` is set, as export drivers have it.
    pub fn is_dll(&self) -> bool {
        self.headers.characteristics & pe::IMAGE_FILE_DLL.0 != 0
    }

    /// Returns `TimeDateStamp`: seconds since 1970, or a hash in a reproducible build.
    pub fn time_date_stamp(&self) -> u32 {
        self.headers.time_date_stamp
    }

    /// Returns `CheckSum` as stated; it is not compared with the bytes.
    pub fn check_sum(&self) -> u32 {
        self.headers.check_sum
    }

    /// Returns `Subsystem`; always 1, native.
    pub fn subsystem(&self) -> u16 {
        self.headers.subsystem
    }

    /// Returns `DllCharacteristics` (`IMAGE_DLLCHARACTERISTICS_*`).
    pub fn dll_characteristics(&self) -> u16 {
        self.headers.dll_characteristics
    }
}

/// The certificate table is the one directory that gives a place in the file, not an RVA.
fn has_certificate(file: &[u8], headers: &Headers) -> bool {
    headers
        .directory(pe::IMAGE_DIRECTORY_ENTRY_SECURITY)
        .is_some_and(|(offset, size)| crate::bytes::slice_at(file, offset, size).is_some())
}
