//! Names of devices and links, as UTF-16 text in the image.

use super::DeviceName;
use crate::{Image, bytes::u16_at};

const PREFIXES: [&str; 4] = [r"\device\", r"\??\", r"\dosdevices\", r"\global??\"];
/// An object name has at most 32,767 characters; names of devices are short.
const NAME_LIMIT_CHARACTERS: u32 = 256;
const NAME_COUNT_LIMIT: usize = 256;

pub(super) fn find(image: &Image) -> Vec<DeviceName> {
    let bytes = &image.mapped().bytes;
    let mut names: Vec<DeviceName> = Vec::new();
    let mut end_of_last = 0;
    for (at, pair) in bytes.windows(2).enumerate() {
        if pair != [b'\\', 0] || at < end_of_last || names.len() >= NAME_COUNT_LIMIT {
            continue;
        }
        let Ok(rva) = u32::try_from(at) else { break };
        let mut name = text_at(bytes, rva);
        let lower = name.to_ascii_lowercase();
        // Texts of Rust touch each other: the next name begins where this one ends.
        let next = PREFIXES.iter().filter_map(|prefix| Some(lower.get(1..)?.find(prefix)? + 1));
        name.truncate(next.min().unwrap_or(name.len()));
        if PREFIXES.iter().any(|prefix| lower.starts_with(prefix) && name.len() > prefix.len()) {
            end_of_last = at + name.len() * 2;
            if names.iter().all(|known| known.name != name) {
                names.push(DeviceName { name, rva });
            }
        }
    }
    names
}

/// Reads printable ASCII up to anything else: texts of Rust have no zero at their end.
fn text_at(bytes: &[u8], rva: u32) -> String {
    let unit = |index: u32| u16_at(bytes, rva.checked_add(index * 2)?);
    let units = (0..NAME_LIMIT_CHARACTERS).map_while(unit);
    let characters = units.map_while(|unit| u8::try_from(unit).ok().map(char::from));
    characters.take_while(|character| matches!(character, ' '..='~')).collect()
}
