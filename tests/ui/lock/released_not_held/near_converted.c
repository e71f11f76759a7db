// Exclusive access is converted to shared access and released once.
#include <ntddk.h>

static ERESOURCE Resource;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExConvertExclusiveToSharedLite(&Resource);
    if (ExIsResourceAcquiredSharedLite(&Resource) == 1) ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
    return STATUS_SUCCESS;
}
