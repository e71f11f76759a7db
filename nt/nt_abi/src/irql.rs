//! Interrupt request levels of x64.

use std::fmt;

/// An interrupt request level. Source: "Managing Hardware Priorities" and the x64 values of
/// `wdm.h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Irql(pub u8);

impl Irql {
    pub const PASSIVE_LEVEL: Self = Self(0);
    pub const APC_LEVEL: Self = Self(1);
    pub const DISPATCH_LEVEL: Self = Self(2);
    /// Lowest device level.
    pub const DIRQL_LOW: Self = Self(3);
    /// Highest device level.
    pub const DIRQL_HIGH: Self = Self(11);
    pub const CLOCK_LEVEL: Self = Self(13);
    pub const IPI_LEVEL: Self = Self(14);
    pub const HIGH_LEVEL: Self = Self(15);
}

impl fmt::Display for Irql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("PASSIVE_LEVEL"),
            1 => f.write_str("APC_LEVEL"),
            2 => f.write_str("DISPATCH_LEVEL"),
            3..=11 => write!(f, "DIRQL {}", self.0),
            13 => f.write_str("CLOCK_LEVEL"),
            14 => f.write_str("IPI_LEVEL"),
            15 => f.write_str("HIGH_LEVEL"),
            other => write!(f, "IRQL {other}"),
        }
    }
}

impl fmt::Debug for Irql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
