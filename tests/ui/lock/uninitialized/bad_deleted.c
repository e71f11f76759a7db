// The resource is used once more after it was deleted.
#include <ntddk.h>

static ERESOURCE Resource;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    ExDeleteResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE); //~ lock::uninitialized
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    return STATUS_SUCCESS;
}
