// Each acquisition is released, in another order and by both routines.
#include <ntddk.h>

static ERESOURCE Resource;
static KMUTEX Mutex;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    KeInitializeMutex(&Mutex, 0);
    ExEnterCriticalRegionAndAcquireResourceExclusive(&Resource);
    ExAcquireResourceSharedLite(&Resource, TRUE);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    ExReleaseResourceForThreadLite(&Resource, ExGetCurrentResourceThread());
    KeReleaseMutex(&Mutex, FALSE);
    ExReleaseResourceAndLeaveCriticalRegion(&Resource);
    KeReleaseMutex(&Mutex, FALSE);
    ExDeleteResourceLite(&Resource);
    return STATUS_SUCCESS;
}
