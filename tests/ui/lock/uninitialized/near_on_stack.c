// Locks on the stack, initialised by the routine that has them.
#include <ntddk.h>


NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    FAST_MUTEX Mutex;
    KGUARDED_MUTEX Guarded;
    KSPIN_LOCK Lock;
    KLOCK_QUEUE_HANDLE Queue;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    KeInitializeGuardedMutex(&Guarded);
    KeInitializeSpinLock(&Lock);
    ExAcquireFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
    KeAcquireGuardedMutex(&Guarded);
    KeReleaseGuardedMutex(&Guarded);
    KeAcquireInStackQueuedSpinLock(&Lock, &Queue);
    KeReleaseInStackQueuedSpinLock(&Queue);
    return STATUS_SUCCESS;
}
