//! Rtl: strings, memory, debug prints and the C runtime.

mod bitmap;
mod c_number;
mod c_printf;
mod c_secure;
mod c_sort;
mod c_string;
mod c_text;
mod code_page;
mod counted_string;
mod debug_print;
mod memory;
mod printf;
mod security_descriptor;
mod stack_probe;
mod string_conversion;
mod system_version;

use saved::kept;

pub(crate) use system_version::NT_VERSION;

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] = &[
    memory::EXPORTS,
    c_string::EXPORTS,
    c_secure::EXPORTS,
    c_number::EXPORTS,
    c_printf::EXPORTS,
    c_sort::EXPORTS,
    counted_string::EXPORTS,
    string_conversion::EXPORTS,
    debug_print::EXPORTS,
    system_version::EXPORTS,
    stack_probe::EXPORTS,
    security_descriptor::EXPORTS,
    bitmap::EXPORTS,
];

kept! {
    /// State of the component.
    #[derive(Debug)]
    pub struct State as StateCopy {
        /// State of `rand`; the C standard starts it as by `srand(1)`.
        pub(crate) random: u32,
        /// The last line of the debug output has no end yet.
        pub(crate) is_line_open: bool,
    }
}

impl Default for State {
    fn default() -> Self {
        Self { random: 1, is_line_open: false }
    }
}
