//! Exports: what an image offers to others. Drivers seldom have any.

use object::{
    LittleEndian as LE,
    pe::{self, ImageExportDirectory},
};

use crate::{
    bytes::{pod_at, text_at, u16_at, u32_at},
    headers::Headers,
};

/// Ordinals are 16 bits wide.
const EXPORT_LIMIT: u32 = 65_536;
const NAME_LIMIT_BYTES: usize = 4096;
const TEXT_LIMIT_BYTES: usize = 4 << 20;

/// What an export leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    /// Code or data of the image.
    Rva(u32),
    /// An export of another module, as `module.name`.
    Forward(String),
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its number, base included.
    pub ordinal: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it is.
    pub target: ExportTarget,
}

/// Reads the exports; a directory that is damaged yields those before the damage, because the
/// kernel loads such a driver and nobody but an importer looks there.
pub(crate) fn parse(image: &[u8], headers: &Headers) -> Vec<Export> {
    let Some((rva, size_bytes)) = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_EXPORT) else {
        return Vec::new();
    };
    let Some(directory) = pod_at::<ImageExportDirectory>(image, rva) else { return Vec::new() };
    let mut text_bytes = 0_usize;
    let mut text = |at| {
        let text = text_at(image, at, NAME_LIMIT_BYTES)?;
        text_bytes = text_bytes.saturating_add(text.len());
        (text_bytes <= TEXT_LIMIT_BYTES).then_some(text)
    };
    let mut exports = Vec::new();
    let mut slot_of = Vec::new();
    for index in 0..directory.number_of_functions.get(LE).min(EXPORT_LIMIT) {
        let at = directory.address_of_functions.get(LE).saturating_add(index * 4);
        let Some(target_rva) = u32_at(image, at) else { break };
        slot_of.push((target_rva != 0).then_some(exports.len()));
        if target_rva == 0 {
            continue;
        }
        // A target inside the directory itself is the text of a forward.
        let is_forward = target_rva.checked_sub(rva).is_some_and(|offset| offset < size_bytes);
        let target = if is_forward {
            let Some(forward) = text(target_rva) else { break };
            ExportTarget::Forward(forward)
        } else {
            ExportTarget::Rva(target_rva)
        };
        let ordinal = directory.base.get(LE).saturating_add(index);
        exports.push(Export { ordinal, name: None, target });
    }
    for index in 0..directory.number_of_names.get(LE).min(EXPORT_LIMIT) {
        let ordinal_at = directory.address_of_name_ordinals.get(LE).saturating_add(index * 2);
        let name_at = directory.address_of_names.get(LE).saturating_add(index * 4);
        let Some(slot) = u16_at(image, ordinal_at) else { break };
        let Some(name) = u32_at(image, name_at).and_then(&mut text) else { break };
        let export = slot_of.get(usize::from(slot)).copied().flatten();
        if let Some(export) = export.and_then(|export| exports.get_mut(export)) {
            export.name = Some(name);
        }
    }
    exports
}
