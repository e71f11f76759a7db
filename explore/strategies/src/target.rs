//! The driver under test, and what is known of it before it runs.

use std::sync::Arc;

use pe_image::{Image, ImageError, debug_info::DebugInfo};
use sha2::{Digest as _, Sha256};
use system::InterruptLine;
use workloads::Facts;

/// A driver.
#[derive(Clone, Debug)]
pub struct Target {
    /// File name, such as `zero.sys`.
    pub name: String,
    /// What its headers state.
    pub image: Arc<Image>,
    /// What its code seems to expect.
    pub facts: Facts,
    /// Functions and lines, if there is debug information.
    pub debug_info: Option<DebugInfo>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Interrupts of its device.
    pub lines: Vec<InterruptLine>,
}

impl Target {
    /// Reads an image. `pdb` is a companion file; one of another build is ignored.
    pub fn new(name: &str, bytes: &[u8], pdb: Option<&[u8]>) -> Result<Self, ImageError> {
        let image = Image::parse(bytes)?;
        let from_pdb = pdb.and_then(|pdb| DebugInfo::from_pdb(pdb).ok());
        let debug_info = from_pdb
            .filter(|info| info.belongs_to(&image))
            .or_else(|| DebugInfo::from_dwarf(&image).ok());
        let facts = Facts::of(&image);
        let sha256 = Sha256::digest(bytes).into();
        let (name, image, lines) = (name.to_owned(), Arc::new(image), Vec::new());
        Ok(Self { name, image, facts, debug_info, sha256, lines })
    }

    /// The part of the hash that stands in replay tokens.
    pub fn image_mark(&self) -> u32 {
        let [a, b, c, d, ..] = self.sha256;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The hash in hex.
    pub fn sha256_hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
