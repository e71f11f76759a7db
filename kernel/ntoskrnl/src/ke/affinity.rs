//! On which processors a thread may run, and how processors are numbered.
//!
//! There is one group, number 0, with every processor. A thread whose affinity excludes the
//! processor that it runs on is moved before its next instruction, or, if its IRQL is
//! `DISPATCH_LEVEL`, as soon as it is lower.

use guest_memory::GuestAddr;
use nt_abi::NtStatus;
use nt_macros::export;

use crate::{CallResult, Kernel, exports};

exports![
    KeSetSystemAffinityThread,
    KeSetSystemAffinityThreadEx,
    KeRevertToUserAffinityThread,
    KeRevertToUserAffinityThreadEx,
    KeSetSystemGroupAffinityThread,
    KeRevertToUserGroupAffinityThread,
    KeQueryGroupAffinity,
    KeQueryActiveGroupCount,
    KeQueryMaximumGroupCount,
    KeQueryMaximumProcessorCount,
    KeQueryMaximumProcessorCountEx,
    KeGetProcessorNumberFromIndex,
    KeGetProcessorIndexFromNumber
];

/// `ALL_PROCESSOR_GROUPS`.
const ALL_GROUPS: u16 = 0xffff;
/// `INVALID_PROCESSOR_INDEX`.
const INVALID_INDEX: u32 = u32::MAX;
/// Fields of `GROUP_AFFINITY` behind its mask. Source: `miniport/ns-miniport-_group_affinity`.
const GROUP: u64 = 8;
const GROUP_AFFINITY_BYTES: u64 = 16;

/// Moves the current thread to one of these processors. Processors that do not exist are left out.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesetsystemaffinitythread")]
fn KeSetSystemAffinityThread(k: &mut Kernel, affinity: u64) {
    set_system(k, affinity);
}

/// The same; returns the system affinity before, or 0 if there was none.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesetsystemaffinitythreadex")]
fn KeSetSystemAffinityThreadEx(k: &mut Kernel, affinity: u64) -> u64 {
    set_system(k, affinity)
}

/// Takes the system affinity back.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereverttouseraffinitythread")]
fn KeRevertToUserAffinityThread(k: &mut Kernel) {
    revert(k, 0);
}

/// Goes back to what `KeSetSystemAffinityThreadEx` returned: 0 is the affinity without a system
/// one.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereverttouseraffinitythreadex")]
fn KeRevertToUserAffinityThreadEx(k: &mut Kernel, affinity: u64) {
    revert(k, affinity);
}

/// Moves the current thread to one of these processors of a group; the affinity before goes where
/// `previous` points, zeroed if there was none.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesetsystemgroupaffinitythread")]
fn KeSetSystemGroupAffinityThread(
    k: &mut Kernel,
    affinity: GuestAddr,
    previous: GuestAddr,
) -> CallResult<()> {
    let mask: u64 = k.read_scalar(affinity)?;
    let group: u16 = k.read_scalar(affinity.add(GROUP))?;
    let before = if group == 0 { set_system(k, mask) } else { 0 };
    if previous.is_null() {
        return Ok(());
    }
    k.fill(previous, 0, GROUP_AFFINITY_BYTES)?;
    k.write_scalar(previous, before)
}

/// Goes back to what `KeSetSystemGroupAffinityThread` gave.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereverttousergroupaffinitythread")]
fn KeRevertToUserGroupAffinityThread(k: &mut Kernel, previous: GuestAddr) -> CallResult<()> {
    let mask: u64 = k.read_scalar(previous)?;
    revert(k, mask);
    Ok(())
}

/// Returns a mask of the processors of a group.
#[export(irql = .., ddi = "wdm/nf-wdm-kequerygroupaffinity")]
fn KeQueryGroupAffinity(k: &mut Kernel, group: u16) -> u64 {
    if group == 0 { all(k) } else { 0 }
}

/// Returns how many groups there are.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryactivegroupcount")]
fn KeQueryActiveGroupCount(_: &mut Kernel) -> u16 {
    1
}

/// Returns how many groups there can be.
#[export(irql = .., ddi = "wdm/nf-wdm-kequerymaximumgroupcount")]
fn KeQueryMaximumGroupCount(_: &mut Kernel) -> u16 {
    1
}

/// Returns how many processors there can be.
#[export(irql = .., ddi = "wdm/nf-wdm-kequerymaximumprocessorcount")]
fn KeQueryMaximumProcessorCount(k: &mut Kernel) -> u32 {
    count(k)
}

/// Returns how many processors a group can have.
#[export(irql = .., ddi = "wdm/nf-wdm-kequerymaximumprocessorcountex")]
fn KeQueryMaximumProcessorCountEx(k: &mut Kernel, group: u16) -> u32 {
    if group == 0 || group == ALL_GROUPS { count(k) } else { 0 }
}

/// Writes group and number of a processor (`PROCESSOR_NUMBER`) by its index in the system.
#[export(irql = .., ddi = "wdm/nf-wdm-kegetprocessornumberfromindex")]
fn KeGetProcessorNumberFromIndex(
    k: &mut Kernel,
    index: u32,
    number: GuestAddr,
) -> CallResult<NtStatus> {
    if index >= count(k) {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    k.write_scalar(number, 0u16)?;
    k.write_scalar(number.add(2), index.to_le_bytes()[0])?;
    k.write_scalar(number.add(3), 0u8)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Returns the index in the system of a processor by group and number.
#[export(irql = .., ddi = "wdm/nf-wdm-kegetprocessorindexfromnumber")]
fn KeGetProcessorIndexFromNumber(k: &mut Kernel, number: GuestAddr) -> CallResult<u32> {
    let group: u16 = k.read_scalar(number)?;
    let index: u8 = k.read_scalar(number.add(2))?;
    let reserved: u8 = k.read_scalar(number.add(3))?;
    let exists = group == 0 && reserved == 0 && u32::from(index) < count(k);
    Ok(if exists { u32::from(index) } else { INVALID_INDEX })
}

fn count(k: &Kernel) -> u32 {
    u32::try_from(k.cores.len()).unwrap_or(u32::MAX)
}

fn all(k: &Kernel) -> u64 {
    (1 << k.cores.len()) - 1
}

/// Sets the system affinity of the current thread; returns the one before, 0 if there was none. A
/// mask without any processor that exists changes nothing.
fn set_system(k: &mut Kernel, mask: u64) -> u64 {
    let mask = mask & all(k);
    let thread = k.current_thread();
    let before = if thread.user_affinity.is_some() { thread.affinity } else { 0 };
    if mask != 0 {
        thread.user_affinity = thread.user_affinity.or(Some(thread.affinity));
        thread.affinity = mask;
    }
    before
}

/// Goes back to a system affinity, or with 0 to the affinity without one.
fn revert(k: &mut Kernel, mask: u64) {
    if mask != 0 {
        set_system(k, mask);
        return;
    }
    let thread = k.current_thread();
    if let Some(affinity) = thread.user_affinity.take() {
        thread.affinity = affinity;
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::{
        Flow, Kernel,
        testing::{block, call_by_name, kernel_on, with_threads},
    };

    fn start(processors: u8) -> Kernel {
        let mut k = kernel_on(processors);
        let thread = with_threads(&mut k, 1)[0];
        k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
        k
    }

    #[test]
    fn an_affinity_is_set_and_taken_back() {
        let mut k = start(2);
        let user = k.current_thread().affinity;
        assert_eq!(call_by_name(&mut k, "KeSetSystemAffinityThreadEx", &[0b10]), Ok(0));
        assert_eq!(k.current_thread().affinity, 0b10);
        // Processors that do not exist are left out; a mask of none changes nothing.
        assert_eq!(call_by_name(&mut k, "KeSetSystemAffinityThreadEx", &[0b1101]), Ok(0b10));
        assert_eq!(call_by_name(&mut k, "KeSetSystemAffinityThreadEx", &[0b1100]), Ok(0b01));
        assert_eq!(k.current_thread().affinity, 0b01);
        call_by_name(&mut k, "KeRevertToUserAffinityThreadEx", &[0b10]).unwrap();
        assert_eq!(k.current_thread().affinity, 0b10);
        call_by_name(&mut k, "KeRevertToUserAffinityThread", &[]).unwrap();
        assert_eq!(k.current_thread().affinity, user);
        let (wish, before) = (block(&mut k, &[0; 16]), block(&mut k, &[0xff; 16]));
        k.write_scalar(GuestAddr(wish), 0b10_u64).unwrap();
        call_by_name(&mut k, "KeSetSystemGroupAffinityThread", &[wish, before]).unwrap();
        assert_eq!(k.current_thread().affinity, 0b10);
        assert_eq!(k.read_scalar(GuestAddr(before)), Ok(0u64));
        call_by_name(&mut k, "KeRevertToUserGroupAffinityThread", &[before]).unwrap();
        assert_eq!(k.current_thread().affinity, user);
        // Group 1 does not exist.
        k.write_scalar(GuestAddr(wish + 8), 1u16).unwrap();
        call_by_name(&mut k, "KeSetSystemGroupAffinityThread", &[wish, 0]).unwrap();
        assert_eq!(k.current_thread().affinity, user);
    }

    #[test]
    fn processors_have_numbers() {
        let mut k = start(3);
        let counts = ["KeQueryMaximumProcessorCount", "KeQueryMaximumProcessorCountEx"];
        for name in counts {
            assert_eq!(call_by_name(&mut k, name, &[0]), Ok(3));
        }
        for name in ["KeQueryActiveGroupCount", "KeQueryMaximumGroupCount"] {
            assert_eq!(call_by_name(&mut k, name, &[]), Ok(1));
        }
        assert_eq!(call_by_name(&mut k, "KeQueryGroupAffinity", &[0]), Ok(0b111));
        assert_eq!(call_by_name(&mut k, "KeQueryGroupAffinity", &[1]), Ok(0));
        let number = block(&mut k, &[0xff; 4]);
        let get = "KeGetProcessorNumberFromIndex";
        let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
        assert_eq!(call_by_name(&mut k, get, &[3, number]), Ok(invalid));
        assert_eq!(call_by_name(&mut k, get, &[2, number]), Ok(0));
        assert_eq!(k.read_scalar(GuestAddr(number)), Ok(0x0002_0000_u32));
        let index = "KeGetProcessorIndexFromNumber";
        assert_eq!(call_by_name(&mut k, index, &[number]), Ok(2));
        k.write_scalar(GuestAddr(number + 2), 3u8).unwrap();
        assert_eq!(call_by_name(&mut k, index, &[number]), Ok(0xffff_ffff));
    }
}
