//! `hal.dll`: bus data and stalls.
//!
//! The clocks and the IRQL routines that drivers import from this image are exports of `ntoskrnl`,
//! which serves both names, as the system does.

mod bus;
mod stall;

use ntoskrnl::Export;

/// Every export of the image.
pub fn exports() -> Vec<&'static [Export]> {
    vec![bus::EXPORTS, stall::EXPORTS]
}
