//! Facts that a driver image and its debug information state: headers, sections, imports, unwind
//! data, lines.
//!
//! Everything here takes byte slices and returns values. Nothing opens a file, runs code, or knows
//! where the image will be loaded. The bytes are hostile: every length and offset in them is a
//! claim, checked before use, and the memory and the work spent are bounded by the size of the
//! input.
//!
//! An *RVA* is a byte offset from the start of the loaded image. Source of the format:
//! <https://learn.microsoft.com/windows/win32/debug/pe-format>.

pub mod builder;
pub mod debug_info;
mod directories;
mod error;
mod image;
mod mapping;
pub mod scan;
pub mod scope_table;
pub mod unwind;

mod bytes;
mod headers;

pub use directories::{
    debug::{CodeView, PdbIdentity},
    exports::{Export, ExportTarget},
    imports::{Import, ImportName},
    load_config::LoadConfig,
    version::VersionInfo,
};
pub use error::ImageError;
pub use image::Image;
pub use mapping::{MappedImage, Relocation, RelocationKind, Section, SectionPerms};
