//! Asks a damaged file everything that the program would ask it.

use pe_image::{
    Image, debug_info::DebugInfo, scan::Scan, scope_table::ScopeTable, unwind::UnwindInfo,
};

/// Places asked for in one file.
const LOOKUP_COUNT: u32 = 200;
/// Functions unwound in one file.
const FUNCTION_COUNT: usize = 2000;

/// What became of a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Something could be read.
    Accepted,
    /// It was refused with a reason.
    Refused,
}

pub(super) fn image(bytes: &[u8]) -> Answer {
    let Ok(image) = Image::parse(bytes) else { return Answer::Refused };
    let mut mapped = image.map();
    // An image that must stay is an answer, too.
    let _is_moved = mapped.relocate(0xFFFF_F800_1234_0000);
    for page in 0..image.image_bytes() / 0x1000 {
        mapped.page_perms(page * 0x1000);
    }
    let mut reader = |rva, out: &mut [u8]| mapped.read(rva, out);
    for function in image.functions().entries().iter().take(FUNCTION_COUNT) {
        image.functions().lookup(function.begin_rva);
        let Ok(chain) = UnwindInfo::read_chain(&mut reader, *function) else { continue };
        let data = chain.last().and_then(|(_, info)| info.handler_data_rva);
        let _scopes = data.map(|rva| ScopeTable::read(&mut reader, rva));
    }
    let _facts = (image.pdb_file_name(), image.security_cookie_rva(), image.exports().len());
    let _hints = Scan::new(&image);
    if let Ok(info) = DebugInfo::from_dwarf(&image) {
        ask(&info, image.image_bytes());
    }
    Answer::Accepted
}

/// A debug file is a PDB, or an image with DWARF.
pub(super) fn companion(bytes: &[u8]) -> Answer {
    let info = if bytes.starts_with(b"MZ") {
        let Ok(image) = Image::parse(bytes) else { return Answer::Refused };
        DebugInfo::from_dwarf(&image)
    } else {
        DebugInfo::from_pdb(bytes)
    };
    match info {
        Ok(info) => {
            ask(&info, 0x1_0000);
            Answer::Accepted
        }
        Err(reason) => {
            let _sentence = reason.to_string();
            Answer::Refused
        }
    }
}

fn ask(info: &DebugInfo, end_rva: u32) {
    let step = (end_rva / LOOKUP_COUNT).max(1);
    for index in 0..LOOKUP_COUNT {
        info.lookup(index * step + index % 7);
    }
    for (_, begin_rva, end_rva) in info.functions().take(FUNCTION_COUNT) {
        info.lookup(begin_rva);
        info.lookup(end_rva.wrapping_sub(1));
    }
    info.rvas_of_line("lib.rs", 30);
    info.files();
}
