//! What is told about a script that makes no sense.

use report::printable_char;
use rhai::EvalAltResult;

use crate::near::near;

/// The functions of a script, as they are called.
pub(super) const FUNCTIONS: &[&str] = &[
    "open(path)",
    "open_overlapped(path)",
    "read(file, buffer)",
    "write(file, buffer)",
    "ioctl(file, code, input, output)",
    "together(requests)",
    "reading(file, buffer)",
    "writing(file, buffer)",
    "controlling(file, code, input, output)",
    "cancelling(file)",
    "closing(file)",
    "callers(lists of requests)",
    "new_file()",
    "opening(file, path)",
    "opening_overlapped(file, path)",
    "sleeping_ms(n)",
    "cancel(file)",
    "close(file)",
    "sleep_ms(n)",
    "interrupt(vector)",
    "interrupt_after_us(vector, n)",
    "unload()",
    "expect(condition, words)",
    "debug_output()",
    "none()",
    "zeros(n)",
    "bytes(blob)",
    "null_pointer(n)",
    "kernel_address(n)",
    "buffer.u8(at, value)",
    "buffer.u16(at, value)",
    "buffer.u32(at, value)",
    "buffer.u64(at, value)",
    "buffer.thread_id(at)",
    "buffer.process_id(at)",
    "buffer.event_handle(at)",
    "buffer.user_pointer(at)",
    "reply.u8(at)",
    "reply.u16(at)",
    "reply.u32(at)",
    "reply.u64(at)",
];

/// Characters of an error: some of it is the stranger's own text.
const MAX_CHARS: usize = 300;

/// Why a script ended, in one sentence.
pub(super) fn in_words(error: &EvalAltResult) -> String {
    let inner = error.unwrap_inner();
    let words = match inner {
        EvalAltResult::ErrorFunctionNotFound(call, _) => Some(not_found(call)),
        // What a function of ours refuses, or what the script threw.
        EvalAltResult::ErrorRuntime(value, _) if value.is_string() => Some(value.to_string()),
        _ => None,
    };
    let position = inner.position();
    let words = match words {
        Some(words) if position.is_none() => words,
        Some(words) => format!("{words} ({position})"),
        None => inner.to_string(),
    };
    words.chars().take(MAX_CHARS).map(printable_char).collect()
}

/// `call` is what was written, with the types of the arguments: `read (File, i64)`.
fn not_found(call: &str) -> String {
    let (name, types) = call.split_once('(').unwrap_or((call, ")"));
    let name = name.trim_end();
    let types = types.strip_suffix(')').unwrap_or(types);
    let types: Vec<&str> = types.split(", ").map(type_in_words).collect();
    let found = format!("`{name}({})`", types.join(", "));
    let known = called(name);
    if !known.is_empty() {
        return format!("{} was expected, found {found}", quoted(&known));
    }
    let names = FUNCTIONS.iter().map(|function| name_of(function));
    let near: Vec<&str> = near(name, names).into_iter().flat_map(called).collect();
    if near.is_empty() {
        format!("there is no function {found}; docs/testing-a-driver.md lists them")
    } else {
        format!("there is no function {found}; did you mean {}?", quoted(&near))
    }
}

/// How the functions of a name are called.
fn called(name: &str) -> Vec<&'static str> {
    FUNCTIONS.iter().copied().filter(|function| name_of(function) == name).collect()
}

fn quoted(calls: &[&str]) -> String {
    let quoted: Vec<String> = calls.iter().map(|call| format!("`{call}`")).collect();
    quoted.join(" or ")
}

/// The name in `read(file, buffer)` and `buffer.u8(at, value)`.
fn name_of(call: &str) -> &str {
    let head = call.split('(').next().unwrap_or(call);
    head.rsplit('.').next().unwrap_or(head)
}

/// A type as the script's author knows it.
fn type_in_words(name: &str) -> &str {
    match name {
        "i64" => "number",
        "&str | ImmutableString | String" | "&str" | "string" => "text",
        "()" => "nothing",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, name_of, not_found};

    #[test]
    fn calls_that_are_nearly_right_are_put_right() {
        let cases = [
            (
                "reed (File, Buffer)",
                "there is no function `reed(File, Buffer)`; did you mean `read(file, buffer)`?",
            ),
            ("read (File, i64)", "`read(file, buffer)` was expected, found `read(File, number)`"),
            (
                "u32 (Buffer, i64)",
                "`buffer.u32(at, value)` or `reply.u32(at)` was expected, \
                 found `u32(Buffer, number)`",
            ),
            ("unload (())", "`unload()` was expected, found `unload(nothing)`"),
            (
                "frobnicate ()",
                "there is no function `frobnicate()`; docs/testing-a-driver.md lists them",
            ),
        ];
        for (call, words) in cases {
            assert_eq!(not_found(call), words);
        }
    }

    #[test]
    fn the_documentation_lists_every_function() {
        let page = include_str!("../../../docs/testing-a-driver.md");
        let rows: String = page.lines().filter(|line| line.starts_with("| `")).collect();
        for function in FUNCTIONS {
            let name = name_of(function);
            assert!(
                rows.contains(&format!("`{name}")) || rows.contains(&format!(".{name}(")),
                "{function}"
            );
        }
    }
}
