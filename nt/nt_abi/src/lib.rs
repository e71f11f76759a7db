//! Facts about Windows on x64: layouts, constants and status names, in the spelling of the WDK. No
//! behaviour.

mod irql;
mod layout;
mod status;

pub mod constants;
pub mod structures;

pub use irql::Irql;
pub use layout::{Field, Scalar};
pub use status::NtStatus;
