// The block that is freed holds no resource; the one that does is freed after its deletion.
#include <ntddk.h>

typedef struct _CACHE {
    ERESOURCE Resource;
    ULONG Entries;
} CACHE;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    CACHE *Cache = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Cache), 'hcaC');
    PVOID Other;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Cache == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializeResourceLite(&Cache->Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Cache->Resource, TRUE);
    Cache->Entries = 0;
    ExReleaseResourceLite(&Cache->Resource);
    KeLeaveCriticalRegion();
    Other = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Cache), 'hcaC');
    if (Other != NULL) ExFreePoolWithTag(Other, 'hcaC');
    ExReinitializeResourceLite(&Cache->Resource);
    ExDeleteResourceLite(&Cache->Resource);
    ExFreePoolWithTag(Cache, 'hcaC');
    return STATUS_SUCCESS;
}
