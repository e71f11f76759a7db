// Mutexes, resources and shared push locks may be acquired recursively.
#include <ntddk.h>

static KMUTEX Mutex;
static ERESOURCE Resource;
static EX_PUSH_LOCK PushLock;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeMutex(&Mutex, 0);
    ExInitializeResourceLite(&Resource);
    ExInitializePushLock(&PushLock);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    KeReleaseMutex(&Mutex, FALSE);
    KeReleaseMutex(&Mutex, FALSE);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    ExAcquirePushLockShared(&PushLock);
    ExAcquirePushLockShared(&PushLock);
    ExReleasePushLockShared(&PushLock);
    ExReleasePushLockShared(&PushLock);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
    return STATUS_SUCCESS;
}
