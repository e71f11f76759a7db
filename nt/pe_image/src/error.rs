//! Why a file is not a driver image that can be loaded, one sentence each.

use thiserror::Error;

/// A reason to refuse a file. The text says what was expected, then what was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The file has no `MZ` signature.
    #[error("not a PE file: expected the signature `MZ`, found {found}")]
    NotPe {
        /// The first bytes, or that there are none.
        found: String,
    },
    /// The `MZ` header leads to no `PE` header: a DOS or 16-bit program, or damage.
    #[error(
        "not a PE file: expected the signature `PE` at offset {offset:#x} (`e_lfanew`), \
         found {found}"
    )]
    NoPeHeader {
        /// Where it should be.
        offset: u32,
        /// What is there.
        found: String,
    },
    /// The machine type is not x64.
    #[error("not an x64 driver: expected machine type 0x8664 (x64), found {found}")]
    WrongMachine {
        /// The machine type, by name where it has one.
        found: String,
    },
    /// The optional header is not that of PE32+.
    #[error("not a 64-bit image: expected optional header magic 0x20b (PE32+), found {found:#x}")]
    WrongMagic {
        /// The magic number.
        found: u16,
    },
    /// An object file or a broken link: not marked executable.
    #[error(
        "not a linked image: expected `IMAGE_FILE_EXECUTABLE_IMAGE` in the characteristics, \
         found {found:#06x}"
    )]
    NotExecutable {
        /// The characteristics of the file header.
        found: u16,
    },
    /// The subsystem is not native.
    #[error("not a driver: expected subsystem 1 (native), found {found}")]
    NotNative {
        /// The subsystem, by name where it has one.
        found: String,
    },
    /// It imports a module that exists in user mode only.
    #[error("not a driver: expected imports from kernel modules only, found `{module}`")]
    UserMode {
        /// The first such module.
        module: String,
    },
    /// The file ends before something that its headers announce.
    #[error("truncated: expected {needed_bytes} bytes for {what}, found a file of {file_bytes}")]
    Truncated {
        /// What should have been there.
        what: String,
        /// How long the file would have to be.
        needed_bytes: u64,
        /// How long it is.
        file_bytes: u64,
    },
    /// A number in the headers is outside what Windows and this crate accept.
    #[error("malformed headers: expected {field} {expected}, found {found:#x}")]
    BadField {
        /// The field, spelled as in the PE format.
        field: &'static str,
        /// The accepted values.
        expected: &'static str,
        /// The value.
        found: u64,
    },
    /// Sections overlap, leave gaps, or run backwards.
    #[error(
        "malformed sections: expected `{section}` at {expected_rva:#x}, after what comes before \
         it, found it at {found_rva:#x}"
    )]
    SectionOutOfPlace {
        /// Name of the section.
        section: String,
        /// Where it must start.
        expected_rva: u64,
        /// Where it claims to start.
        found_rva: u32,
    },
    /// A section does not fit into the size of the image.
    #[error(
        "the headers lie about sizes: expected `{section}` to end within `SizeOfImage` \
         ({image_bytes:#x}), found its end at {end_rva:#x}"
    )]
    SectionBeyondImage {
        /// Name of the section.
        section: String,
        /// One past its last byte.
        end_rva: u64,
        /// The announced size of the image.
        image_bytes: u32,
    },
    /// A directory that the loader needs points outside the image or contradicts itself.
    #[error("malformed {directory}: expected {expected}, found {found:#x}")]
    BadDirectory {
        /// Which directory.
        directory: &'static str,
        /// What it must be.
        expected: &'static str,
        /// The offending value.
        found: u64,
    },
    /// The image must stand at its preferred base, and another was asked for.
    #[error(
        "cannot be moved: expected base {preferred_base:#x} (relocations are stripped), \
         found {found:#x}"
    )]
    NotRelocatable {
        /// The only base it can have.
        preferred_base: u64,
        /// The base asked for.
        found: u64,
    },
}
