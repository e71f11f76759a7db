// The structure is in non-paged pool.
#include <ntddk.h>

typedef struct _TABLE {
    FAST_MUTEX Mutex;
    ULONG Entries;
} TABLE;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    TABLE *Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Table), 'elbT');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Table == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializeFastMutex(&Table->Mutex);
    ExAcquireFastMutex(&Table->Mutex);
    Table->Entries++;
    ExReleaseFastMutex(&Table->Mutex);
    ExFreePoolWithTag(Table, 'elbT');
    return STATUS_SUCCESS;
}
