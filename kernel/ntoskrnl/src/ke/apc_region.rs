//! Critical and guarded regions.

use events::{Event, Region, RegionFault, RegionMisuse};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![
    KeEnterCriticalRegion,
    KeLeaveCriticalRegion,
    KeEnterGuardedRegion,
    KeLeaveGuardedRegion,
    KeAreApcsDisabled,
    KeAreAllApcsDisabled,
];

/// How deep a thread is in regions, without what the mutexes it owns add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionDepth {
    /// Critical regions.
    pub critical: u32,
    /// Guarded regions.
    pub guarded: u32,
}

impl RegionDepth {
    /// The region whose depth differs, and whether it is deeper now.
    pub(crate) fn difference(self, now: Self) -> Option<(Region, bool)> {
        if now.guarded != self.guarded {
            return Some((Region::Guarded, now.guarded > self.guarded));
        }
        (now.critical != self.critical).then_some((Region::Critical, now.critical > self.critical))
    }
}

/// Disables normal kernel APCs. `FsRtlEnterFileSystem` is a macro for it.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keentercriticalregion")]
fn KeEnterCriticalRegion(k: &mut Kernel) -> CallResult<()> {
    k.enter_region(Region::Critical)
}

/// Enables them again.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keleavecriticalregion")]
fn KeLeaveCriticalRegion(k: &mut Kernel) -> CallResult<()> {
    k.leave_region(Region::Critical)
}

/// Disables all APCs.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keenterguardedregion")]
fn KeEnterGuardedRegion(k: &mut Kernel) -> CallResult<()> {
    k.enter_region(Region::Guarded)
}

/// Enables them again.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keleaveguardedregion")]
fn KeLeaveGuardedRegion(k: &mut Kernel) -> CallResult<()> {
    k.leave_region(Region::Guarded)
}

/// Says whether normal kernel APCs are disabled: by a region, or by a mutex that is owned.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keareapcsdisabled")]
fn KeAreApcsDisabled(k: &mut Kernel) -> bool {
    let thread = k.current_thread();
    thread.critical_regions > 0 || thread.guarded_regions > 0
}

/// Says whether all APCs are disabled: by a guarded region or by the IRQL.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keareallapcsdisabled")]
fn KeAreAllApcsDisabled(k: &mut Kernel) -> bool {
    k.irql() >= nt_abi::Irql::APC_LEVEL || k.current_thread().guarded_regions > 0
}

impl Kernel {
    /// The current thread enters a region.
    pub(crate) fn enter_region(&mut self, region: Region) -> CallResult<()> {
        let now = self.emit(Event::RegionEnter(region))?;
        let thread = self.current_thread();
        match region {
            Region::Critical => thread.critical_regions += 1,
            Region::Guarded => thread.guarded_regions += 1,
        }
        thread.region_entered = Some(now);
        Ok(())
    }

    /// The current thread leaves a region.
    pub(crate) fn leave_region(&mut self, region: Region) -> CallResult<()> {
        let entered = self.current_thread().region_entered;
        let thread = self.current_thread();
        let depth = match region {
            Region::Critical => &mut thread.critical_regions,
            Region::Guarded => &mut thread.guarded_regions,
        };
        if let Some(left) = depth.checked_sub(1) {
            *depth = left;
            return Ok(());
        }
        let misuse = RegionMisuse::NotEntered;
        self.emit(Event::RegionFault(RegionFault { region, misuse, entered }))?;
        // "APC_INDEX_MISMATCH: there has been a mismatch in the APC state index"; the count is off
        // when the thread returns to user mode or its routine ends.
        Err(Stop::bug_check(0x01, [0, 0, 1, 0]))
    }

    /// How deep the current thread is in regions that it entered itself.
    pub(crate) fn region_depth(&mut self) -> RegionDepth {
        let Some(id) = self.core().thread else { return RegionDepth::default() };
        let owned = u32::try_from(self.owned_mutexes(id).len()).unwrap_or(u32::MAX);
        let thread = self.ke.thread(id);
        RegionDepth {
            critical: thread.critical_regions.saturating_sub(owned),
            guarded: thread.guarded_regions,
        }
    }
}

#[cfg(test)]
mod tests {
    use events::{Event, Region, RegionMisuse};
    use nt_abi::Irql;

    use crate::{
        Flow, Kernel,
        testing::{bug_check_code, call_by_name, kernel, take_events, with_threads},
    };

    fn start() -> Kernel {
        let mut k = kernel();
        let thread = with_threads(&mut k, 1)[0];
        k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
        k
    }

    /// Whether normal kernel APCs are disabled, and whether all are.
    fn disabled(k: &mut Kernel) -> (u64, u64) {
        let mut ask = |name| call_by_name(k, name, &[]).unwrap();
        (ask("KeAreApcsDisabled"), ask("KeAreAllApcsDisabled"))
    }

    #[test]
    fn regions_nest() {
        let mut k = start();
        assert_eq!(disabled(&mut k), (0, 0));
        for (name, expected) in [
            ("KeEnterCriticalRegion", (1, 0)),
            ("KeEnterCriticalRegion", (1, 0)),
            ("KeEnterGuardedRegion", (1, 1)),
            ("KeLeaveCriticalRegion", (1, 1)),
            ("KeLeaveGuardedRegion", (1, 0)),
            ("KeLeaveCriticalRegion", (0, 0)),
        ] {
            call_by_name(&mut k, name, &[]).unwrap();
            assert_eq!(disabled(&mut k), expected, "{name}");
        }
        k.set_irql(Irql::APC_LEVEL);
        assert_eq!(disabled(&mut k), (0, 1));
    }

    #[test]
    fn leaving_what_was_not_entered_is_told() {
        for (name, region) in
            [("KeLeaveCriticalRegion", Region::Critical), ("KeLeaveGuardedRegion", Region::Guarded)]
        {
            let mut k = start();
            take_events(&mut k);
            assert_eq!(bug_check_code(call_by_name(&mut k, name, &[])), 0x01);
            let heard = take_events(&mut k);
            let [Event::RegionFault(fault)] = heard.as_slice() else { panic!("{heard:?}") };
            assert_eq!((fault.region, fault.misuse), (region, RegionMisuse::NotEntered));
        }
    }
}
