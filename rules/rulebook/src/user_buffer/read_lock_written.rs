//! Pages that were locked for reading are not written.

use events::{EventKind, ReadLockWrite};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver writes through a mapping of pages that were locked with `IoReadAccess`,
    /// and that the caller itself may only read.
    pub static READ_LOCK_WRITTEN = {
        id: "user_buffer::read_lock_written",
        severity: Severity::Violation,
        title: "memory that was locked for reading is written",
        explain: include_str!("read_lock_written.md"),
        fix: "use METHOD_OUT_DIRECT or `IoModifyAccess` for a buffer that the driver changes",
        windows: "no bug check: the store goes into a page that the caller may only read, perhaps \
            one that other processes share",
        contract: &[
            "ddi/wdm/ne-wdm-_lock_operation",
            "ddi/wdm/nf-wdm-mmprobeandlockpages",
            "kernel/buffer-descriptions-for-i-o-control-codes",
        ],
        since: "0.1.0",
    }
}

/// Watches stores through mappings of such pages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadLockWritten;

impl Monitor for ReadLockWritten {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::ReadLockWrite]
    }

    fn read_lock_write(&mut self, write: &ReadLockWrite, at: Moment<'_>, out: &mut Findings) {
        let what = describe::bytes(write.size_bytes);
        let message = format!("writes {what} into pages that the caller itself may only read");
        let finding = out.report(&READ_LOCK_WRITTEN, message).once_per_function();
        describe::request_history(finding, at);
    }
}
