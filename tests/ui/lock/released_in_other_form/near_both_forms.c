// One lock is used in both forms, each with its own counterpart.
#include <ntddk.h>

static FAST_MUTEX Mutex;
static KGUARDED_MUTEX Guarded;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    KeInitializeGuardedMutex(&Guarded);
    ExAcquireFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Mutex);
    ExReleaseFastMutexUnsafe(&Mutex);
    KeLeaveCriticalRegion();
    KeAcquireGuardedMutex(&Guarded);
    KeReleaseGuardedMutex(&Guarded);
    KeEnterGuardedRegion();
    KeAcquireGuardedMutexUnsafe(&Guarded);
    KeReleaseGuardedMutexUnsafe(&Guarded);
    KeLeaveGuardedRegion();
    if (KeTryToAcquireGuardedMutex(&Guarded)) KeReleaseGuardedMutex(&Guarded);
    return STATUS_SUCCESS;
}
