//! `DbgPrint` and kin. Every component and level is enabled, as with a kernel debugger that asked
//! for all.

#![expect(non_camel_case_types, reason = "exports keep their spelling")]

use events::IrqlLimit;
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus};
use nt_macros::export;

use crate::{
    CallResult, Kernel, VarArgs, exports,
    rtl::{c_text::Unit, code_page::to_unicode, printf::format},
};

exports![DbgPrint, DbgPrintEx, vDbgPrintEx, vDbgPrintExWithPrefix];

/// Longest text of one call. Source: `DbgPrint`, "Comments".
const LONGEST_BYTES: usize = 512;
/// Longest incomplete line that is joined to the next call's text.
const LONGEST_LINE: usize = 4096;
/// Lines kept.
const MOST_LINES: usize = 10_000;

/// Prints to the debugger.
#[export(irql = ..=DIRQL_HIGH, ddi = "wdm/nf-wdm-dbgprint",
    irql_when = "PASSIVE_LEVEL only with Unicode format codes")]
fn DbgPrint(k: &mut Kernel, text: GuestAddr, mut args: VarArgs) -> CallResult<NtStatus> {
    print(k, "wdm/nf-wdm-dbgprint", GuestAddr::NULL, text, &mut args)
}

/// Prints to the debugger, for a component at a level.
#[export(irql = ..=DIRQL_HIGH, ddi = "wdm/nf-wdm-dbgprintex",
    irql_when = "PASSIVE_LEVEL only with Unicode format codes")]
fn DbgPrintEx(
    k: &mut Kernel,
    _component: u32,
    _level: u32,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<NtStatus> {
    print(k, "wdm/nf-wdm-dbgprintex", GuestAddr::NULL, text, &mut args)
}

/// Prints a `va_list` to the debugger.
#[export(irql = ..=DIRQL_HIGH, ddi = "wdm/nf-wdm-vdbgprintex",
    irql_when = "PASSIVE_LEVEL only with Unicode format codes")]
fn vDbgPrintEx(
    k: &mut Kernel,
    _component: u32,
    _level: u32,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<NtStatus> {
    let args = &mut VarArgs::from_list(list);
    print(k, "wdm/nf-wdm-vdbgprintex", GuestAddr::NULL, text, args)
}

/// Prints a prefix and a `va_list` to the debugger.
#[export(irql = ..=DIRQL_HIGH, ddi = "wdm/nf-wdm-vdbgprintexwithprefix",
    irql_when = "PASSIVE_LEVEL only with Unicode format codes")]
fn vDbgPrintExWithPrefix(
    k: &mut Kernel,
    prefix: GuestAddr,
    _component: u32,
    _level: u32,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<NtStatus> {
    let args = &mut VarArgs::from_list(list);
    print(k, "wdm/nf-wdm-vdbgprintexwithprefix", prefix, text, args)
}

fn print(
    k: &mut Kernel,
    ddi: &'static str,
    prefix: GuestAddr,
    text: GuestAddr,
    args: &mut VarArgs,
) -> CallResult<NtStatus> {
    let mut bytes = if prefix.is_null() { Vec::new() } else { k.c_string::<u8>(prefix, 512)? };
    let formatted = format::<u8>(k, text, args)?;
    if formatted.converts_unicode {
        // "The Unicode format codes can be used only at IRQL = PASSIVE_LEVEL."
        let limit = IrqlLimit { min: Irql::PASSIVE_LEVEL, max: Irql::PASSIVE_LEVEL };
        k.check_irql(limit, ddi)?;
    }
    bytes.extend(formatted.units.into_iter().map(u8::of));
    bytes.truncate(LONGEST_BYTES);
    let text: Vec<u16> = bytes.into_iter().map(to_unicode).collect();
    k.show_debug_text(&String::from_utf16_lossy(&text));
    Ok(NtStatus::STATUS_SUCCESS)
}

impl Kernel {
    /// Adds text to the debug output, which is kept in lines. Text without an end of line is
    /// continued by the next call.
    fn show_debug_text(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            let is_whole = piece.ends_with('\n');
            let line = piece.trim_end_matches(['\n', '\r']);
            let is_full = self.debug_output.len() >= MOST_LINES;
            let open = self.debug_output.last_mut().filter(|_| self.rtl.is_line_open);
            if let Some(open) = open.filter(|open| open.len() < LONGEST_LINE) {
                open.push_str(line);
            } else if !is_full {
                self.debug_output.push(line.to_owned());
            }
            self.rtl.is_line_open = !is_whole;
            if is_whole {
                self.trace(|k| {
                    let line = k.debug_output.last().map_or("", String::as_str);
                    format!("print {line}")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use events::Event;
    use nt_abi::Irql;

    use crate::testing::{block, call_by_name, kernel, narrow, take_events, wide};

    #[test]
    fn text_is_kept_in_lines() {
        let mut k = kernel();
        for text in ["one\n", "two ", "three\r\nfo", "ur\n", "last"] {
            let text = narrow(&mut k, text);
            call_by_name(&mut k, "DbgPrint", &[text]).unwrap();
        }
        assert_eq!(*k.debug_output, ["one", "two three", "four", "last"]);
    }

    #[test]
    fn one_call_sends_512_bytes() {
        let mut k = kernel();
        let format = narrow(&mut k, "%600d");
        call_by_name(&mut k, "DbgPrintEx", &[0, 0, format, 1]).unwrap();
        assert_eq!(k.debug_output.first().map(String::len), Some(512));
    }

    #[test]
    fn unicode_is_converted_at_passive_level_only() {
        let mut k = kernel();
        let text = wide(&mut k, "x");
        for (format, irql, is_reported) in [
            ("%ws", Irql::PASSIVE_LEVEL, false),
            ("%ws", Irql::APC_LEVEL, true),
            ("%p", Irql::DISPATCH_LEVEL, false),
        ] {
            k.set_irql(irql);
            take_events(&mut k);
            let format_at = narrow(&mut k, format);
            call_by_name(&mut k, "DbgPrint", &[format_at, text]).unwrap();
            let heard = take_events(&mut k);
            let found = heard.iter().any(|event| matches!(event, Event::LimitBroken(_)));
            assert_eq!(found, is_reported, "{format} at {irql}");
        }
    }

    #[test]
    fn a_list_is_printed_with_its_prefix() {
        let mut k = kernel();
        let (prefix, format) = (narrow(&mut k, "drv: "), narrow(&mut k, "%d-%s\n"));
        let text = narrow(&mut k, "x");
        let list = block(&mut k, &[7_u64.to_le_bytes(), text.to_le_bytes()].concat());
        assert_eq!(call_by_name(&mut k, "vDbgPrintEx", &[77, 3, format, list]), Ok(0));
        let arguments = [prefix, 77, 3, format, list];
        assert_eq!(call_by_name(&mut k, "vDbgPrintExWithPrefix", &arguments), Ok(0));
        assert_eq!(*k.debug_output, ["7-x", "drv: 7-x"]);
    }
}
