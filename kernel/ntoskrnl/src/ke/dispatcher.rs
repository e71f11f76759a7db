//! Dispatcher objects: what signals and satisfies a wait.
//!
//! The header is in guest memory, where drivers see it; the order of waiters is the kernel's own.

use events::{Event, KeptFault, KeptKind, KeptObject, MutexAbandon, Seq, ThreadId};
use guest_memory::{Accessor, GuestAddr};
use nt_abi::{
    NtStatus,
    structures::ke::{DISPATCHER_HEADER, KMUTANT, KQUEUE},
};

use crate::{CallResult, Kernel, Stop, Wait};

/// `DISPATCHER_HEADER.Type`. Source: `KOBJECTS` as debuggers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatcherType {
    NotificationEvent,
    SynchronizationEvent,
    Mutant,
    Process,
    Queue,
    Semaphore,
    Thread,
    NotificationTimer,
    SynchronizationTimer,
}

impl DispatcherType {
    /// Every kind, in order of its number.
    const ALL: [Self; 9] = [
        Self::NotificationEvent,
        Self::SynchronizationEvent,
        Self::Mutant,
        Self::Process,
        Self::Queue,
        Self::Semaphore,
        Self::Thread,
        Self::NotificationTimer,
        Self::SynchronizationTimer,
    ];

    /// The number in the header.
    pub fn number(self) -> u8 {
        match self {
            Self::NotificationEvent => 0,
            Self::SynchronizationEvent => 1,
            Self::Mutant => 2,
            Self::Process => 3,
            Self::Queue => 4,
            Self::Semaphore => 5,
            Self::Thread => 6,
            Self::NotificationTimer => 8,
            Self::SynchronizationTimer => 9,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// As what a fault of such an object is reported.
    fn kept_kind(self) -> KeptKind {
        match self {
            Self::NotificationTimer | Self::SynchronizationTimer => KeptKind::Timer,
            _ => KeptKind::Dispatcher,
        }
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

    /// What stands in the header of an object that was initialised.
    pub(crate) fn dispatcher_type(&mut self, object: GuestAddr) -> CallResult<DispatcherType> {
        let number = self.get(object, DISPATCHER_HEADER::Type)?;
        match DispatcherType::from_number(number) {
            Some(kind) => Ok(kind),
            None => Err(self.not_initialized(object, KeptKind::Dispatcher)),
        }
    }

    /// Checks that a driver's pointer is to an object that was initialised, and resident: the
    /// kernel follows its list of waiters at `DISPATCH_LEVEL`.
    pub(crate) fn require_dispatcher(&mut self, object: GuestAddr) -> CallResult<DispatcherType> {
        let kind = self.dispatcher_type(object)?;
        let list = object.add(DISPATCHER_HEADER::WaitListFlink.offset_bytes).0;
        // Waiters are kept elsewhere: the list in the header is always empty.
        if self.get(object, DISPATCHER_HEADER::WaitListFlink)? != list
            || self.get(object, DISPATCHER_HEADER::WaitListBlink)? != list
        {
            return Err(self.not_initialized(object, kind.kept_kind()));
        }
        self.require_resident(kind.kept_kind(), object, DISPATCHER_HEADER::SIZE_BYTES)?;
        Ok(kind)
    }

    /// Reports a pointer to what is no such object, and returns what Windows makes of it.
    pub(crate) fn not_initialized(&mut self, at: GuestAddr, kind: KeptKind) -> Stop {
        let fault = KeptFault::NotInitialized;
        let event = Event::KeptObject(KeptObject { kind, at, fault, since: None });
        if let Err(stop) = self.emit(event) {
            return stop;
        }
        // IRQL_NOT_LESS_OR_EQUAL: it follows a list that is none, at DISPATCH_LEVEL.
        let mut list = [0; 8];
        let field = at.add(DISPATCHER_HEADER::WaitListFlink.offset_bytes);
        let _ = self.memory.read(Accessor::Machine, field, &mut list);
        Stop::bug_check(0x0a, [u64::from_le_bytes(list), 2, 1, 0])
    }

    /// Sets the signal state on behalf of what runs now, and lets waiters go on.
    pub fn signal(&mut self, object: GuestAddr, state: i32) -> CallResult<()> {
        self.order_release(object);
        self.set_signalled(object, state)
    }

    /// Sets the signal state and lets waiters go on.
    pub(crate) fn set_signalled(&mut self, object: GuestAddr, state: i32) -> CallResult<()> {
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
        Ok(match self.dispatcher_type(object)? {
            DispatcherType::Mutant => {
                state > 0 || self.get(object, KMUTANT::OwnerThread)? == thread.0
            }
            // No more threads at work than the queue allows.
            DispatcherType::Queue => {
                let busy = self.get(object, KQUEUE::CurrentCount)?;
                state > 0 && busy < self.get(object, KQUEUE::MaximumCount)?
            }
            _ => state > 0,
        })
    }

    /// What a satisfied wait does to the object; returns the status it adds.
    pub(crate) fn acquire(&mut self, object: GuestAddr, thread: GuestAddr) -> CallResult<NtStatus> {
        if let Some(id) = self.ke.thread_at(thread).map(|t| t.id) {
            self.order_acquire_for(id, object);
        }
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
                self.set(object, DISPATCHER_HEADER::SignalState, state.wrapping_sub(1))?;
            }
            DispatcherType::Queue => self.take_queue_entry(object, thread)?,
            DispatcherType::Mutant => {
                // "MINLONG: the mutex has been acquired too often; an exception is raised".
                let Some(after) = state.checked_sub(1) else {
                    return Err(Stop::raise(NtStatus::STATUS_MUTANT_LIMIT_EXCEEDED));
                };
                self.set(object, DISPATCHER_HEADER::SignalState, after)?;
                self.set(object, KMUTANT::OwnerThread, thread.0)?;
                if state == 1
                    && let Some(id) = self.ke.thread_at(thread).map(|t| t.id)
                {
                    // "KeWaitForSingleObject: a mutex wait disables normal kernel APCs while it is
                    // owned".
                    let apc_disable = self.get(object, KMUTANT::ApcDisable)?;
                    let now = Seq(self.last_seq.0);
                    let owner = self.ke.thread_mut(id);
                    owner.critical_regions += u32::from(apc_disable);
                    owner.mutexes.retain(|&(mutex, _)| mutex != object);
                    owner.mutexes.push((object, now));
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
    pub(crate) fn wake_waiters(&mut self, object: GuestAddr) -> CallResult<()> {
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
                self.wake(id, status)?;
            }
        }
        Ok(())
    }

    /// The mutexes that a thread owns, with the moment of the first acquisition.
    pub(crate) fn owned_mutexes(&self, id: ThreadId) -> Vec<(GuestAddr, Seq)> {
        let thread = self.ke.thread(id);
        let is_owned = |&(mutex, _): &(GuestAddr, Seq)| {
            let mut owner = [0; 8];
            let at = mutex.add(KMUTANT::OwnerThread.offset_bytes);
            // Memory that was given back holds no mutex any more.
            self.memory.read(Accessor::Supervisor, at, &mut owner).is_ok()
                && u64::from_le_bytes(owner) == thread.object.0
        };
        thread.mutexes.iter().copied().filter(is_owned).collect()
    }

    /// A thread ends: mutexes that it owns are abandoned, and their next owner is told.
    pub(crate) fn abandon_mutexes(&mut self, id: ThreadId) -> CallResult<()> {
        for (mutex, acquired) in self.owned_mutexes(id) {
            self.emit(Event::MutexAbandon(MutexAbandon { mutex, acquired }))?;
            self.order_release(mutex);
            self.set(mutex, KMUTANT::OwnerThread, 0)?;
            self.set(mutex, KMUTANT::Abandoned, 1)?;
            self.set_signalled(mutex, 1)?;
        }
        self.ke.thread_mut(id).mutexes.clear();
        Ok(())
    }
}
