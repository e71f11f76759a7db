//! `KeStallExecutionProcessor`.

use nt_macros::export;
use ntoskrnl::{CallResult, Kernel, exports};

exports![KeStallExecutionProcessor];

/// Spins for a time; virtual time passes and nothing else runs.
#[export(irql = .., ddi = "wdm/nf-wdm-kestallexecutionprocessor")]
fn KeStallExecutionProcessor(k: &mut Kernel, microseconds: u32) -> CallResult<()> {
    const UNITS_PER_MICROSECOND: u64 = 10;
    k.idle_100ns += u64::from(microseconds) * UNITS_PER_MICROSECOND;
    Ok(())
}
