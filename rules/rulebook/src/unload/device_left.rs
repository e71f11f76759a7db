//! Device objects must be deleted before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each device object that exists after its driver was unloaded, or after its
    /// `DriverEntry` failed.
    pub static DEVICE_LEFT = {
        id: "unload::device_left",
        severity: Severity::Violation,
        title: "device object left behind at unload",
        explain: include_str!("device_left.md"),
        fix: "call `IoDeleteDevice` for every device object in Unload, and on the error paths of \
            `DriverEntry`",
        windows: "the next open of the device calls into memory that is gone: bug check 0xCE; the \
            driver cannot be loaded again under the same name",
        contract: &[
            "kernel/non-pnp-driver-s-unload-routine",
            "kernel/unload-routine-functionality",
            "ddi/wdm/nf-wdm-iodeletedevice",
        ],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceLeft;

impl Monitor for DeviceLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::Device(name) = &left.resource else { return };
        let when = describe::gone(left);
        let name = describe::named(name);
        let finding =
            out.report(&DEVICE_LEFT, format!("the device object {name} still exists ({when})"));
        describe::taken_at(finding, left, at);
    }
}
