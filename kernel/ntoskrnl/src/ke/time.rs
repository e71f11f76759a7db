//! Virtual time as drivers see it.

use guest_memory::{Accessor, GuestAddr};
use nt_abi::structures::ke::KUSER_SHARED_DATA;
use nt_macros::export;

use crate::{CallResult, Kernel, exports, ke::privileged::CLOCK_TICK_100NS, map};

exports![
    KeQueryTimeIncrement,
    KeQuerySystemTimePrecise,
    KeQueryPerformanceCounter,
    KeQueryInterruptTime,
    KeQueryInterruptTimePrecise,
    KeQueryUnbiasedInterruptTime
];

/// Frequency of the performance counter: that of time stamps in units of 100 ns.
const PERFORMANCE_FREQUENCY_HZ: u64 = 10_000_000;

/// Returns the length of a clock tick in units of 100 ns.
#[export(irql = .., ddi = "wdm/nf-wdm-kequerytimeincrement")]
fn KeQueryTimeIncrement(_: &mut Kernel) -> u32 {
    156_250
}

/// Writes the system time.
#[export(irql = .., ddi = "wdm/nf-wdm-kequerysystemtimeprecise")]
fn KeQuerySystemTimePrecise(k: &mut Kernel, to: GuestAddr) -> CallResult<()> {
    let now = k.system_time_100ns();
    k.write_scalar(to, now)
}

/// Returns the performance counter, and its frequency if asked.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryperformancecounter")]
fn KeQueryPerformanceCounter(k: &mut Kernel, frequency: GuestAddr) -> CallResult<u64> {
    if !frequency.is_null() {
        k.write_scalar(frequency, PERFORMANCE_FREQUENCY_HZ)?;
    }
    Ok(k.interrupt_time_100ns())
}

/// Returns the interrupt time.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryinterrupttime")]
fn KeQueryInterruptTime(k: &mut Kernel) -> u64 {
    k.interrupt_time_100ns()
}

/// Returns the interrupt time, and the performance counter of the same moment.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryinterrupttimeprecise")]
fn KeQueryInterruptTimePrecise(k: &mut Kernel, counter: GuestAddr) -> CallResult<u64> {
    let now = k.interrupt_time_100ns();
    k.write_scalar(counter, now)?;
    Ok(now)
}

/// Returns the interrupt time without that of sleep; this machine never sleeps.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryunbiasedinterrupttime")]
fn KeQueryUnbiasedInterruptTime(k: &mut Kernel) -> u64 {
    k.interrupt_time_100ns()
}

impl Kernel {
    /// Shows virtual time in the shared page.
    pub(crate) fn refresh_shared_user_data(&mut self) {
        let interrupt = self.interrupt_time_100ns();
        let system = self.system_time_100ns();
        let ticks = interrupt / CLOCK_TICK_100NS;
        let fields = [
            (KUSER_SHARED_DATA::InterruptTimeLow.offset_bytes, interrupt),
            (KUSER_SHARED_DATA::SystemTimeLow.offset_bytes, system),
            (KUSER_SHARED_DATA::TickCountLow.offset_bytes, ticks),
        ];
        for (offset_bytes, value) in fields {
            // Low part, high part, and the high part again for readers on 32 bits.
            let mut bytes = value.to_le_bytes().to_vec();
            bytes.extend((value >> 32).to_le_bytes().split_at(4).0);
            let at = map::SHARED_USER_DATA.add(offset_bytes);
            self.memory
                .write(Accessor::Machine, at, &bytes)
                .expect("the shared page is always mapped");
        }
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::testing::{block, call_by_name, kernel};

    #[test]
    fn clocks_agree() {
        let mut k = kernel();
        k.idle_100ns = 12_345;
        let counter = block(&mut k, &[0; 8]);
        assert_eq!(call_by_name(&mut k, "KeQueryInterruptTime", &[]), Ok(12_345));
        assert_eq!(call_by_name(&mut k, "KeQueryUnbiasedInterruptTime", &[]), Ok(12_345));
        assert_eq!(call_by_name(&mut k, "KeQueryInterruptTimePrecise", &[counter]), Ok(12_345));
        assert_eq!(k.read_scalar(GuestAddr(counter)), Ok(12_345_u64));
    }
}
