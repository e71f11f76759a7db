//! IRQL, and proof of it: what may be done here is known when the driver is compiled.
//!
//! Every callback of this crate gets `&mut` of a level: [`PassiveLevel`] for `DriverEntry`, unload,
//! requests, threads and work items, [`DispatchLevel`] for DPCs. A lock that raises the IRQL
//! borrows the level for as long as it is held and offers a new one through its guard. What may
//! wait asks for a level that [`MayWait`], and so a wait under a spin lock does not compile.

use core::{arch::asm, marker::PhantomData};

/// Interrupt request level.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Irql(pub u8);

impl Irql {
    pub const PASSIVE_LEVEL: Self = Self(0);
    pub const APC_LEVEL: Self = Self(1);
    pub const DISPATCH_LEVEL: Self = Self(2);

    /// `KeGetCurrentIrql`, which is inline in the headers.
    pub fn current() -> Self {
        let irql: u64;
        // SAFETY: reading CR8 changes nothing, and drivers run in ring 0.
        unsafe { asm!("mov {}, cr8", out(reg) irql, options(nomem, nostack, preserves_flags)) };
        Self(irql as u8)
    }
}

/// Not sent and not shared: a level belongs to the thread that runs at it.
type Here = PhantomData<*mut ()>;

/// `PASSIVE_LEVEL` with APCs enabled: everything is allowed.
pub struct PassiveLevel(Here);

/// `APC_LEVEL`, or inside a critical region: waits are allowed, but nothing that must not be
/// acquired twice by one thread, nor what an APC has to finish.
pub struct ApcsDisabled(Here);

/// `DISPATCH_LEVEL`: no waits, no paged memory.
pub struct DispatchLevel(Here);

impl PassiveLevel {
    /// # Safety
    ///
    /// Called once per callback that the kernel calls at `PASSIVE_LEVEL` outside of any lock.
    pub(crate) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

impl ApcsDisabled {
    /// # Safety
    ///
    /// APCs are disabled for as long as the value can be borrowed.
    pub(crate) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

impl DispatchLevel {
    /// # Safety
    ///
    /// The IRQL is `DISPATCH_LEVEL` for as long as the value can be borrowed.
    pub(crate) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// The level of a device's interrupt: nothing but the device and its data.
pub struct DeviceLevel(Here);

impl DeviceLevel {
    /// # Safety
    ///
    /// The IRQL is that of an interrupt for as long as the value can be borrowed.
    pub(crate) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// A level up to `DISPATCH_LEVEL`.
pub trait Level: sealed::Sealed {}

/// A level at which a thread may be suspended.
#[diagnostic::on_unimplemented(message = "a thread cannot wait at this IRQL")]
pub trait MayWait: Level {}

impl Level for PassiveLevel {}
impl Level for ApcsDisabled {}
impl Level for DispatchLevel {}
impl MayWait for PassiveLevel {}
impl MayWait for ApcsDisabled {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::PassiveLevel {}
    impl Sealed for super::ApcsDisabled {}
    impl Sealed for super::DispatchLevel {}
}

/// Calls `work` at `DISPATCH_LEVEL`, which keeps threads and DPCs off this processor. Others go on:
/// what they share with `work` needs a spin lock all the same.
pub fn at_dispatch<R>(_level: &mut impl Level, work: impl FnOnce(&mut DispatchLevel) -> R) -> R {
    let old = Irql::current();
    // SAFETY: the level proves an IRQL up to DISPATCH_LEVEL, so this raises it.
    unsafe { set_irql(Irql::DISPATCH_LEVEL) };
    // SAFETY: the IRQL stays until the line after the next.
    let mut level = unsafe { DispatchLevel::assume() };
    let result = work(&mut level);
    // SAFETY: the level of before; what `work` acquired it has released.
    unsafe { set_irql(old) };
    result
}

/// `KeRaiseIrql` and `KeLowerIrql`, which are inline in the headers.
///
/// # Safety
///
/// The level may be set here, and nothing relies on the one before.
unsafe fn set_irql(irql: Irql) {
    // SAFETY: promised by the caller. Memory accesses stay on their side of the change.
    unsafe { asm!("mov cr8, {}", in(reg) u64::from(irql.0), options(nostack, preserves_flags)) };
}

/// For destructors, whose place in the program no type knows.
pub(crate) fn assert_passive() {
    assert!(Irql::current() == Irql::PASSIVE_LEVEL, "dropped above PASSIVE_LEVEL");
}
