// An attempt on a lock that is held already gives up.
#include <ntddk.h>

static FAST_MUTEX Mutex;
static KSPIN_LOCK Lock;
static ERESOURCE Resource;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    KeInitializeSpinLock(&Lock);
    ExInitializeResourceLite(&Resource);
    ExAcquireFastMutex(&Mutex);
    if (ExTryToAcquireFastMutex(&Mutex)) ExReleaseFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
    KeAcquireSpinLock(&Lock, &OldIrql);
    if (KeTryToAcquireSpinLockAtDpcLevel(&Lock)) KeReleaseSpinLockFromDpcLevel(&Lock);
    KeReleaseSpinLock(&Lock, OldIrql);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    if (ExAcquireResourceExclusiveLite(&Resource, FALSE)) ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
    return STATUS_SUCCESS;
}
