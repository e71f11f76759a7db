// The mutex in a fresh block is acquired as it is.
#include <ntddk.h>

typedef struct _TABLE {
    FAST_MUTEX Mutex;
    ULONG Entries;
} TABLE;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    TABLE *Table = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Table), 'elbT');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Table == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Table->Entries = 0;
    ExAcquireFastMutex(&Table->Mutex); //~ lock::uninitialized
    Table->Entries++;
    ExReleaseFastMutex(&Table->Mutex);
    ExFreePoolWithTag(Table, 'elbT');
    return STATUS_SUCCESS;
}
