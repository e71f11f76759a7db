//! Events.

use events::KeptKind;
use guest_memory::GuestAddr;
use nt_abi::structures::ke::KEVENT;
use nt_macros::export;

use crate::{CallResult, Kernel, exports, ke::DispatcherType};

exports![KeInitializeEvent, KeSetEvent, KePulseEvent, KeClearEvent, KeResetEvent, KeReadStateEvent];

/// Initialises an event as notification (0) or synchronization (1) event.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializeevent")]
fn KeInitializeEvent(k: &mut Kernel, event: GuestAddr, kind: u32, state: bool) -> CallResult<()> {
    k.initialize_kept(event, KeptKind::Dispatcher)?;
    let kind = match kind {
        0 => DispatcherType::NotificationEvent,
        _ => DispatcherType::SynchronizationEvent,
    };
    k.init_dispatcher(event, kind, KEVENT::SIZE_BYTES, i32::from(state))
}

/// Signals an event; returns the previous state.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesetevent",
    irql_when = "APC_LEVEL at most if Wait is TRUE")]
fn KeSetEvent(k: &mut Kernel, event: GuestAddr, _increment: i32, wait: bool) -> CallResult<i32> {
    k.check_wait_flag(wait, "wdm/nf-wdm-kesetevent")?;
    k.require_dispatcher(event)?;
    let before = k.get(event, KEVENT::SignalState)?;
    k.signal_or_announce(event, 1, wait)?;
    Ok(before)
}

/// Lets the threads that wait now go on (one, of a synchronization event) and leaves the event not
/// signalled; returns the previous state.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-kepulseevent")]
fn KePulseEvent(k: &mut Kernel, event: GuestAddr, _increment: i32, wait: bool) -> CallResult<i32> {
    k.require_dispatcher(event)?;
    let before = k.get(event, KEVENT::SignalState)?;
    k.signal(event, 1)?;
    k.set(event, KEVENT::SignalState, 0)?;
    if wait {
        // "The routine returns without lowering the IRQL."
        k.signal_or_announce(GuestAddr::NULL, 0, true)?;
    }
    Ok(before)
}

/// Sets an event to not signalled.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keclearevent")]
fn KeClearEvent(k: &mut Kernel, event: GuestAddr) -> CallResult<()> {
    k.set(event, KEVENT::SignalState, 0)
}

/// Sets an event to not signalled; returns the previous state.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keresetevent")]
fn KeResetEvent(k: &mut Kernel, event: GuestAddr) -> CallResult<i32> {
    let before = k.get(event, KEVENT::SignalState)?;
    k.set(event, KEVENT::SignalState, 0)?;
    Ok(before)
}

/// Returns the state.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereadstateevent")]
fn KeReadStateEvent(k: &mut Kernel, event: GuestAddr) -> CallResult<i32> {
    k.get(event, KEVENT::SignalState)
}
