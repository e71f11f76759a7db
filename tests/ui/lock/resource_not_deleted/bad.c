// The block is freed with the resource in it.
#include <ntddk.h>

typedef struct _CACHE {
    ERESOURCE Resource;
    ULONG Entries;
} CACHE;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    CACHE *Cache = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Cache), 'hcaC');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Cache == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializeResourceLite(&Cache->Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Cache->Resource, TRUE);
    Cache->Entries = 0;
    ExReleaseResourceLite(&Cache->Resource);
    KeLeaveCriticalRegion();
    ExFreePoolWithTag(Cache, 'hcaC'); //~ lock::resource_not_deleted
    return STATUS_SUCCESS;
}
