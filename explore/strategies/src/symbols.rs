//! Turns recorded stacks into places.

use events::Origin;
use pe_image::debug_info;
use system::StackFrame;
use verifier::{Frame, Site};

use crate::Target;

/// Frames shown; deeper ones explain nothing.
const MAX_FRAMES: usize = 16;

/// The place of a recorded moment, in an image that was mapped at this address.
pub(crate) fn site(
    target: &Target,
    image_base: u64,
    origin: &Origin,
    stack: &[StackFrame],
) -> Site {
    let mut site = Site {
        image: target.name.clone(),
        export: origin.export.map(str::to_owned),
        ..Site::default()
    };
    // A routine that returned is on no stack any more; the origin names where it returned.
    let returned = returned_routine(target, image_base, origin);
    let stack = match stack.iter().any(|frame| frame.rva.is_some()) {
        true => stack,
        false => returned.as_slice(),
    };
    let innermost = stack.iter().position(|frame| frame.rva.is_some());
    let Some(innermost) = innermost else { return site };
    for (index, frame) in stack.iter().enumerate().skip(innermost) {
        let Some(rva) = frame.rva else {
            push_kernel_frame(&mut site, frame);
            continue;
        };
        // A return address may already belong to the next line.
        let within = if frame.is_return { rva.saturating_sub(1) } else { rva };
        let functions = target.debug_info.as_ref().map(|i| i.lookup(within)).unwrap_or_default();
        let mut functions = functions.into_iter();
        if index == innermost {
            site.rva = Some(rva);
            if let Some(function) = functions.next() {
                let offset_bytes = function.offset_bytes + u32::from(frame.is_return);
                site.function = Some((printable(function.function), offset_bytes));
                if let Some(place) = function.location {
                    site.file = Some(source_path(place.file));
                    site.line = Some(place.line);
                    site.column = place.column;
                }
                if function.inlined {
                    functions.by_ref().for_each(|f| push(&mut site, caller(&f, true)));
                }
            }
        } else {
            functions.for_each(|f| push(&mut site, caller(&f, f.inlined)));
        }
    }
    site
}

/// An offset in the image in words: `Write+0x1d`, or `zero.sys+0x1020`.
pub(crate) fn place(target: &Target, rva: u32) -> String {
    let functions = target.debug_info.as_ref().map(|i| i.lookup(rva)).unwrap_or_default();
    match functions.into_iter().next() {
        Some(found) => format!("{}+{:#x}", printable(found.function), found.offset_bytes),
        None => format!("{}+{rva:#x}", target.name),
    }
}

/// The line of a call that returns to this offset: `at driver.c:12`, or `in zero.sys+0x1020`.
pub(crate) fn line(target: &Target, return_rva: u32) -> String {
    // A return address may already belong to the next line.
    let within = return_rva.saturating_sub(1);
    let functions = target.debug_info.as_ref().map(|i| i.lookup(within)).unwrap_or_default();
    let found = functions.into_iter().find_map(|function| function.location);
    match found {
        Some(found) => format!("at {}:{}", source_path(found.file), found.line),
        None => format!("in {}", place(target, within)),
    }
}

fn returned_routine(target: &Target, image_base: u64, origin: &Origin) -> Vec<StackFrame> {
    let rva = u32::try_from(origin.ip.0.wrapping_sub(image_base)).ok();
    let rva = rva.filter(|rva| *rva < target.image.image_bytes());
    rva.map(|rva| StackFrame { rva: Some(rva), is_return: false, export: None })
        .into_iter()
        .collect()
}

fn caller(function: &debug_info::Frame<'_>, is_inlined: bool) -> Frame {
    Frame {
        function: printable(function.function),
        file: function.location.map(|place| source_path(place.file)),
        line: function.location.map(|place| place.line),
        is_inlined,
    }
}

fn push_kernel_frame(site: &mut Site, frame: &StackFrame) {
    if let Some(export) = &frame.export {
        let function = export.clone();
        push(site, Frame { function, ..Frame::default() });
    }
}

fn push(site: &mut Site, frame: Frame) {
    if site.stack.len() < MAX_FRAMES {
        site.stack.push(frame);
    }
}

/// A path as the compiler wrote it down; a relative one with slashes, as every system takes it.
fn source_path(path: &str) -> String {
    let path = printable(path);
    let is_absolute = path.starts_with('\\') || path.get(1..2) == Some(":");
    if is_absolute { path } else { path.replace('\\', "/") }
}

/// Names from a file of a stranger go to a terminal: no control characters.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
