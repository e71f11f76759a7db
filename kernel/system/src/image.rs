//! Maps a driver's image into the kernel half and binds it.

use std::sync::Arc;

use guest_memory::{Accessor, ByteState, GuestAddr, PAGE_BYTES, Perms};
use ntoskrnl::{Kernel, LoadedImage, map};
use pe_image::{Image, ImportName, MappedImage, SectionPerms};

use crate::Stopped;

/// What stands in the driver's security cookie when it starts: not the linker's default value, as
/// the loader of Windows sees to. Its lower 48 bits are used.
const SECURITY_COOKIE: u64 = 0x0000_5bd1_e995_a3c7;

/// Maps, relocates and binds the image; adds it to the kernel's list.
pub(crate) fn load(k: &mut Kernel, name: &str, image: Arc<Image>) -> Result<GuestAddr, Stopped> {
    let base = map::IMAGES;
    let mut mapped = image.map();
    let refused = |why: String| Stopped::Limit { what: why };
    mapped.relocate(base.0).map_err(|error| refused(error.to_string()))?;
    bind(k, &image, &mut mapped);
    if let Some(rva) = image.security_cookie_rva() {
        put(&mut mapped.bytes, rva, SECURITY_COOKIE);
    }
    for (index, page) in
        (0u32..).zip(mapped.bytes.chunks(usize::try_from(PAGE_BYTES).unwrap_or(4096)))
    {
        let rva = index * 4096;
        let at = base.add(u64::from(rva));
        let Some(perms) = page_perms(&mapped, rva) else { continue };
        let mapping = k.memory.map(at, PAGE_BYTES, perms, ByteState::DEFINED, 0);
        mapping.map_err(|error| refused(error.to_string()))?;
        let written = k.memory.write(Accessor::Machine, at, page);
        written.expect("the page was just mapped");
    }
    let size_bytes = mapped.bytes.len() as u64;
    k.images.push(LoadedImage { name: name.to_owned(), base, size_bytes, image });
    Ok(base)
}

/// Unmaps the sections that are needed only while the driver initialises: discardable ones with
/// code or data of its own, such as INIT.
pub(crate) fn discard(k: &mut Kernel, base: GuestAddr) {
    let Some(image) = k.images.iter().find(|image| image.base == base) else { return };
    let image = Arc::clone(&image.image);
    let mapped = image.mapped();
    if mapped.is_flat() {
        return;
    }
    for section in mapped.sections.iter().filter(|s| s.discardable && s.name == "INIT") {
        let first = u64::from(section.rva).next_multiple_of(PAGE_BYTES);
        let end =
            (u64::from(section.rva) + u64::from(section.size_bytes)).next_multiple_of(PAGE_BYTES);
        let is_alone = mapped.sections.iter().all(|other| {
            let (low, high) =
                (u64::from(other.rva), u64::from(other.rva) + u64::from(other.size_bytes));
            other.rva == section.rva || high <= first || low >= end
        });
        if is_alone && first < end {
            k.memory.unmap(base.add(first), end - first);
        }
    }
}

/// Unmaps a driver that was unloaded.
pub(crate) fn unload(k: &mut Kernel, base: GuestAddr) {
    if let Some(index) = k.images.iter().position(|image| image.base == base) {
        let image = k.images.remove(index);
        k.memory.unmap(base, image.size_bytes.next_multiple_of(PAGE_BYTES));
    }
}

/// Names of imports that nobody exports.
pub(crate) fn unmodelled(k: &Kernel, image: &Image) -> Vec<String> {
    let missing = image.imports().iter().filter_map(|import| match &import.name {
        ImportName::Name(name) if k.exports.find(&import.module, name).is_some() => None,
        name => Some(feature(&import.module, name)),
    });
    missing.collect()
}

fn feature(module: &str, name: &ImportName) -> String {
    let module = module.to_ascii_lowercase();
    match name {
        ImportName::Name(name) => format!("{module}!{name}"),
        ImportName::Ordinal(number) => format!("{module}!#{number}"),
    }
}

/// Fills the import slots: an export's address, or a named trap.
fn bind(k: &mut Kernel, image: &Image, mapped: &mut MappedImage) {
    for import in image.imports() {
        let name = match &import.name {
            ImportName::Name(name) => name.clone(),
            ImportName::Ordinal(number) => format!("#{number}"),
        };
        let found = k.exports.find(&import.module, &name);
        let target = found.unwrap_or_else(|| k.exports.trap(&import.module, &name));
        put(&mut mapped.bytes, import.iat_rva, target.0);
    }
}

fn put(bytes: &mut [u8], rva: u32, value: u64) {
    let at = usize::try_from(rva).unwrap_or(usize::MAX);
    if let Some(slot) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..8)) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
}

fn page_perms(mapped: &MappedImage, rva: u32) -> Option<Perms> {
    let SectionPerms { read, write, execute } = mapped.page_perms(rva);
    let mut perms = Perms::empty();
    perms.set(Perms::READ, read);
    perms.set(Perms::WRITE, write);
    perms.set(Perms::EXECUTE, execute);
    if perms.is_empty() {
        return None;
    }
    let is_pageable = mapped.section_at(rva).is_some_and(|section| section.pageable);
    perms.set(Perms::PAGEABLE, is_pageable && !mapped.is_flat());
    Some(perms)
}
