//! Dispatcher objects, locks and deferred work, spelled as in the Windows headers.
//!
//! The kernel alone reads and writes these structures; of most, only the length is of interest.
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/kernel-mode-synchronization>

use core::{cell::UnsafeCell, ffi::c_void};

use crate::status::NtStatus;

/// A structure of the kernel of this many bytes, to be initialised where it stays.
#[repr(C, align(16))]
pub(crate) struct Opaque<const WORDS: usize>(UnsafeCell<[u64; WORDS]>);

impl<const WORDS: usize> Opaque<WORDS> {
    pub(crate) const fn zeroed() -> Self {
        Self(UnsafeCell::new([0; WORDS]))
    }

    pub(crate) const fn as_ptr(&self) -> *mut Self {
        self.0.get().cast()
    }

    pub(crate) const fn as_object(&self) -> *mut c_void {
        self.0.get().cast()
    }
}

pub(crate) type KEVENT = Opaque<3>;
pub(crate) type KSEMAPHORE = Opaque<4>;
pub(crate) type KMUTEX = Opaque<7>;
pub(crate) type KTIMER = Opaque<8>;
pub(crate) type KDPC = Opaque<8>;
pub(crate) type ERESOURCE = Opaque<13>;
pub(crate) type LIST_HEAD = Opaque<2>;
pub(crate) type KLOCK_QUEUE_HANDLE = Opaque<3>;
pub(crate) type KSPIN_LOCK = usize;

#[repr(C)]
pub(crate) struct FAST_MUTEX {
    pub(crate) Count: i32,
    pub(crate) Owner: *mut c_void,
    pub(crate) Contention: u32,
    pub(crate) Event: [u64; 3],
    pub(crate) OldIrql: u32,
}
const _: () = assert!(size_of::<FAST_MUTEX>() == 0x38);

/// `FM_LOCK_BIT`: what `ExInitializeFastMutex` puts into `Count`.
pub(crate) const FM_LOCK_BIT: i32 = 1;

#[repr(C)]
pub(crate) struct LIST_ENTRY {
    pub(crate) Flink: *mut LIST_ENTRY,
    pub(crate) Blink: *mut LIST_ENTRY,
}

#[repr(C)]
pub(crate) struct OBJECT_ATTRIBUTES {
    pub(crate) Length: u32,
    pub(crate) RootDirectory: usize,
    pub(crate) ObjectName: *const c_void,
    pub(crate) Attributes: u32,
    pub(crate) SecurityDescriptor: *const c_void,
    pub(crate) SecurityQualityOfService: *const c_void,
}
const _: () = assert!(size_of::<OBJECT_ATTRIBUTES>() == 0x30);

pub(crate) const OBJ_KERNEL_HANDLE: u32 = 0x200;
pub(crate) const THREAD_ALL_ACCESS: u32 = 0x1F_FFFF;
/// `LevelSensitive` of `KINTERRUPT_MODE`.
pub(crate) const LEVEL_SENSITIVE: i32 = 0;
pub(crate) const NOTIFICATION_EVENT: i32 = 0;
pub(crate) const SYNCHRONIZATION_EVENT: i32 = 1;
pub(crate) const EXECUTIVE: i32 = 0;
pub(crate) const WAIT_ANY: i32 = 1;
pub(crate) const DELAYED_WORK_QUEUE: i32 = 1;
/// `STATUS_TIMEOUT`, a success status.
pub(crate) const STATUS_TIMEOUT: NtStatus = NtStatus::new(0x102);

pub(crate) type DeferredRoutine =
    extern "system" fn(*mut KDPC, *mut c_void, *mut c_void, *mut c_void);
pub(crate) type WorkItemRoutine = extern "system" fn(*mut c_void, *mut c_void, *mut c_void);
pub(crate) type StartRoutine = extern "system" fn(*mut c_void);
pub(crate) type ServiceRoutine = extern "system" fn(*mut KINTERRUPT, *mut c_void) -> u8;
pub(crate) type SynchronizeRoutine = extern "system" fn(*mut c_void) -> u8;

/// An interrupt object: only ever behind a pointer that the kernel gave.
#[repr(C)]
pub(crate) struct KINTERRUPT {
    _opaque: [u8; 0],
}

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub(crate) fn ExAcquireFastMutex(mutex: *mut FAST_MUTEX);
    pub(crate) fn ExAcquireResourceExclusiveLite(resource: *mut ERESOURCE, wait: u8) -> u8;
    pub(crate) fn ExAcquireResourceSharedLite(resource: *mut ERESOURCE, wait: u8) -> u8;
    pub(crate) fn ExDeleteResourceLite(resource: *mut ERESOURCE) -> NtStatus;
    pub(crate) fn ExInitializeResourceLite(resource: *mut ERESOURCE) -> NtStatus;
    pub(crate) fn ExInterlockedInsertTailList(
        head: *mut LIST_HEAD,
        entry: *mut LIST_ENTRY,
        lock: *mut KSPIN_LOCK,
    ) -> *mut LIST_ENTRY;
    pub(crate) fn ExInterlockedRemoveHeadList(
        head: *mut LIST_HEAD,
        lock: *mut KSPIN_LOCK,
    ) -> *mut LIST_ENTRY;
    pub(crate) fn ExReleaseFastMutex(mutex: *mut FAST_MUTEX);
    pub(crate) fn ExReleaseResourceLite(resource: *mut ERESOURCE);
    pub(crate) fn ExTryToAcquireFastMutex(mutex: *mut FAST_MUTEX) -> u8;
    pub(crate) fn IoAllocateWorkItem(device: *mut c_void) -> *mut c_void;
    pub(crate) fn IoFreeWorkItem(item: *mut c_void);
    pub(crate) fn IoQueueWorkItemEx(
        item: *mut c_void,
        routine: WorkItemRoutine,
        queue: i32,
        context: *mut c_void,
    );
    pub(crate) fn IoConnectInterrupt(
        object: *mut *mut KINTERRUPT,
        routine: ServiceRoutine,
        context: *mut c_void,
        lock: *mut KSPIN_LOCK,
        vector: u32,
        irql: u8,
        synchronize_irql: u8,
        mode: i32,
        is_shared: u8,
        processors: usize,
        floating_save: u8,
    ) -> NtStatus;
    pub(crate) fn IoDisconnectInterrupt(object: *mut KINTERRUPT);
    pub(crate) fn KeAcquireInStackQueuedSpinLock(
        lock: *mut KSPIN_LOCK,
        handle: *mut KLOCK_QUEUE_HANDLE,
    );
    pub(crate) fn KeAcquireSpinLockAtDpcLevel(lock: *mut KSPIN_LOCK);
    pub(crate) fn KeAcquireSpinLockRaiseToDpc(lock: *mut KSPIN_LOCK) -> u8;
    pub(crate) fn KeCancelTimer(timer: *mut KTIMER) -> u8;
    pub(crate) fn KeClearEvent(event: *mut KEVENT);
    pub(crate) fn KeDelayExecutionThread(mode: i8, alertable: u8, interval: *const i64)
    -> NtStatus;
    pub(crate) fn KeEnterCriticalRegion();
    pub(crate) fn KeFlushQueuedDpcs();
    pub(crate) fn KeInitializeDpc(dpc: *mut KDPC, routine: DeferredRoutine, context: *const c_void);
    pub(crate) fn KeInitializeEvent(event: *mut KEVENT, kind: i32, state: u8);
    pub(crate) fn KeInitializeMutex(mutex: *mut KMUTEX, level: u32);
    pub(crate) fn KeInitializeSemaphore(semaphore: *mut KSEMAPHORE, count: i32, limit: i32);
    pub(crate) fn KeInitializeTimer(timer: *mut KTIMER);
    pub(crate) fn KeInsertQueueDpc(dpc: *mut KDPC, first: usize, second: usize) -> u8;
    pub(crate) fn KeLeaveCriticalRegion();
    pub(crate) fn KeReadStateEvent(event: *mut KEVENT) -> i32;
    pub(crate) fn KeReadStateTimer(timer: *mut KTIMER) -> u8;
    pub(crate) fn KeReleaseInStackQueuedSpinLock(handle: *mut KLOCK_QUEUE_HANDLE);
    pub(crate) fn KeReleaseMutex(mutex: *mut KMUTEX, wait: u8) -> i32;
    pub(crate) fn KeReleaseSemaphore(
        semaphore: *mut KSEMAPHORE,
        increment: i32,
        adjustment: i32,
        wait: u8,
    ) -> i32;
    pub(crate) fn KeReleaseSpinLock(lock: *mut KSPIN_LOCK, irql: u8);
    pub(crate) fn KeReleaseSpinLockFromDpcLevel(lock: *mut KSPIN_LOCK);
    pub(crate) fn KeRemoveQueueDpc(dpc: *mut KDPC) -> u8;
    pub(crate) fn KeSynchronizeExecution(
        object: *mut KINTERRUPT,
        routine: SynchronizeRoutine,
        context: *mut c_void,
    ) -> u8;
    pub(crate) fn KeSetEvent(event: *mut KEVENT, increment: i32, wait: u8) -> i32;
    pub(crate) fn KeSetTimerEx(timer: *mut KTIMER, due: i64, period_ms: i32, dpc: *mut KDPC) -> u8;
    pub(crate) fn KeSetTimer(timer: *mut KTIMER, due: i64, dpc: *mut KDPC) -> u8;
    pub(crate) fn KeWaitForMultipleObjects(
        count: u32,
        objects: *const *mut c_void,
        kind: i32,
        reason: i32,
        mode: i8,
        alertable: u8,
        timeout: *const i64,
        wait_blocks: *mut c_void,
    ) -> NtStatus;
    pub(crate) fn KeWaitForSingleObject(
        object: *mut c_void,
        reason: i32,
        mode: i8,
        alertable: u8,
        timeout: *const i64,
    ) -> NtStatus;
    pub(crate) fn ObReferenceObjectByHandle(
        handle: usize,
        access: u32,
        kind: *mut c_void,
        mode: i8,
        object: *mut *mut c_void,
        information: *mut c_void,
    ) -> NtStatus;
    pub(crate) fn PsCreateSystemThread(
        handle: *mut usize,
        access: u32,
        attributes: *const OBJECT_ATTRIBUTES,
        process: usize,
        client_id: *mut c_void,
        routine: StartRoutine,
        context: *mut c_void,
    ) -> NtStatus;
    pub(crate) fn PsTerminateSystemThread(status: NtStatus) -> NtStatus;
    pub(crate) fn ZwClose(handle: usize) -> NtStatus;
    /// A variable that holds the object type of threads.
    pub(crate) static PsThreadType: *mut *mut c_void;
}
