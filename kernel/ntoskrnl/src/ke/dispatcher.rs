//! Dispatcher objects: what signals and satisfies a wait.
//!
//! The header is in guest memory, where drivers see it; the order of waiters is the kernel's own.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    structures::ke::{DISPATCHER_HEADER, KMUTANT},
};

use crate::{CallResult, Kernel, Stop, Wait};

/// `DISPATCHER_HEADER.Type`. Source: `KOBJECTS` as debuggers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatcherType {
    NotificationEvent,
    SynchronizationEvent,
    Mutant,
    Process,
    Semaphore,
    Thread,
    NotificationTimer,
    SynchronizationTimer,
}

impl DispatcherType {
    /// The number in the header.
    pub fn number(self) -> u8 {
        match self {
            Self::NotificationEvent => 0,
            Self::SynchronizationEvent => 1,
            Self::Mutant => 2,
            Self::Process => 3,
            Self::Semaphore => 5,
            Self::Thread => 6,
            Self::NotificationTimer => 8,
            Self::SynchronizationTimer => 9,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [
            Self::NotificationEvent,
            Self::SynchronizationEvent,
            Self::Mutant,
            Self::Process,
            Self::Semaphore,
            Self::Thread,
            Self::NotificationTimer,
            Self::SynchronizationTimer,
        ]
        .into_iter()
        .find(|kind| kind.number() == number)
    }
}

impl Kernel {
    /// Writes a header: type, size in words, state, an empty wait list.
    pub fn init_dispatcher(
        &mut self,
        object: GuestAddr,
        kind: DispatcherType,
        size_bytes: u64,
        state: i32,
    ) -> CallResult<()> {
        let words = u8::try_from(size_bytes / 4).unwrap_or(u8::MAX);
        let list = object.add(DISPATCHER_HEADER::WaitListFlink.offset_bytes).0;
        self.set(object, DISPATCHER_HEADER::Type, kind.number())?;
        self.set(object, DISPATCHER_HEADER::Signalling, 0)?;
        self.set(object, DISPATCHER_HEADER::Size, words)?;
        self.set(object, DISPATCHER_HEADER::Inserted, 0)?;
        self.set(object, DISPATCHER_HEADER::SignalState, state)?;
        self.set(object, DISPATCHER_HEADER::WaitListFlink, list)?;
        self.set(object, DISPATCHER_HEADER::WaitListBlink, list)
    }

    pub(crate) fn dispatcher_type(&mut self, object: GuestAddr) -> CallResult<DispatcherType> {
        let number = self.get(object, DISPATCHER_HEADER::Type)?;
        DispatcherType::from_number(number).ok_or_else(|| {
            Stop::unsupported(format!("a wait on a dispatcher object of type {number}"))
        })
    }

    /// Sets the signal state and lets waiters go on.
    pub fn signal(&mut self, object: GuestAddr, state: i32) -> CallResult<()> {
        self.set(object, DISPATCHER_HEADER::SignalState, state)?;
        self.wake_waiters(object)
    }

    /// Whether a wait of the thread at `thread` on this object would be satisfied.
    pub(crate) fn is_signalled(
        &mut self,
        object: GuestAddr,
        thread: GuestAddr,
    ) -> CallResult<bool> {
        let state = self.get(object, DISPATCHER_HEADER::SignalState)?;
        if self.dispatcher_type(object)? == DispatcherType::Mutant {
            let owner = self.get(object, KMUTANT::OwnerThread)?;
            return Ok(state > 0 || owner == thread.0);
        }
        Ok(state > 0)
    }

    /// What a satisfied wait does to the object; returns the status it adds.
    pub(crate) fn acquire(&mut self, object: GuestAddr, thread: GuestAddr) -> CallResult<NtStatus> {
        let state = self.get(object, DISPATCHER_HEADER::SignalState)?;
        match self.dispatcher_type(object)? {
            DispatcherType::NotificationEvent
            | DispatcherType::NotificationTimer
            | DispatcherType::Process
            | DispatcherType::Thread => {}
            DispatcherType::SynchronizationEvent | DispatcherType::SynchronizationTimer => {
                self.set(object, DISPATCHER_HEADER::SignalState, 0)?;
            }
            DispatcherType::Semaphore => {
                self.set(object, DISPATCHER_HEADER::SignalState, state - 1)?
            }
            DispatcherType::Mutant => {
                self.set(object, DISPATCHER_HEADER::SignalState, state - 1)?;
                self.set(object, KMUTANT::OwnerThread, thread.0)?;
                if state == 1
                    && let Some(id) = self.ke.thread_at(thread).map(|t| t.id)
                {
                    // "KeWaitForSingleObject: a mutex wait disables normal kernel APCs while it is
                    // owned".
                    let apc_disable = self.get(object, KMUTANT::ApcDisable)?;
                    self.ke.thread_mut(id).critical_regions += u32::from(apc_disable);
                }
                if self.get(object, KMUTANT::Abandoned)? != 0 {
                    self.set(object, KMUTANT::Abandoned, 0)?;
                    return Ok(NtStatus::STATUS_ABANDONED);
                }
            }
        }
        Ok(NtStatus::STATUS_SUCCESS)
    }

    /// The status of the wait if it is satisfied now; takes the objects.
    pub(crate) fn try_satisfy(
        &mut self,
        wait: &Wait,
        thread: GuestAddr,
    ) -> CallResult<Option<NtStatus>> {
        let mut signalled = Vec::new();
        for &object in &wait.objects {
            signalled.push(self.is_signalled(object, thread)?);
        }
        if wait.is_all {
            if wait.objects.is_empty() || signalled.contains(&false) {
                return Ok(None);
            }
            let mut status = NtStatus::STATUS_SUCCESS;
            for &object in &wait.objects {
                status = self.acquire(object, thread)?.max(status);
            }
            return Ok(Some(status));
        }
        let first =
            (0u32..).zip(&wait.objects).zip(signalled).find(|(_, is_signalled)| *is_signalled);
        let Some(((index, &object), _)) = first else { return Ok(None) };
        let status = self.acquire(object, thread)?;
        Ok(Some(NtStatus(status.0 + index)))
    }

    /// Serves the threads that wait on an object, in the order in which they began to wait.
    fn wake_waiters(&mut self, object: GuestAddr) -> CallResult<()> {
        let mut waiters: Vec<_> = self
            .ke
            .threads
            .values()
            .filter_map(|t| t.wait.as_ref().map(|(wait, order)| (*order, t.id, t.object, wait)))
            .filter(|(_, _, _, wait)| wait.objects.contains(&object))
            .map(|(order, id, thread, wait)| (order, id, thread, wait.clone()))
            .collect();
        waiters.sort_by_key(|(order, ..)| *order);
        for (_, id, thread, wait) in waiters {
            if let Some(status) = self.try_satisfy(&wait, thread)? {
                self.wake(id, status);
            }
        }
        Ok(())
    }
}
