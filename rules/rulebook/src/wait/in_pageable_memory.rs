//! A dispatcher object must be resident.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a dispatcher object that the kernel is to work with stands in memory that can
    /// be paged out.
    pub static IN_PAGEABLE_MEMORY = {
        id: "wait::in_pageable_memory",
        severity: Severity::Violation,
        title: "a dispatcher object in pageable memory",
        explain: include_str!("in_pageable_memory.md"),
        fix: "allocate it from non-paged pool, or put it into the device extension",
        windows: "bug check 0xA when the page is out: the kernel touches it at DISPATCH_LEVEL",
        contract: &[
            "ddi/wdm/nf-wdm-keinitializeevent",
            "kernel/defining-and-using-an-event-object",
        ],
        since: "0.1.0",
    }
}

/// Judges where a dispatcher object stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InPageableMemory;

impl Monitor for InPageableMemory {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Dispatcher || !matches!(object.fault, KeptFault::Pageable) {
            return;
        }
        let at_address = object.at;
        out.report(
            &IN_PAGEABLE_MEMORY,
            format!("a dispatcher object at {at_address} can be paged out"),
        );
    }
}
