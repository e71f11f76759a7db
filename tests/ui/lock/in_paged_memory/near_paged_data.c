// What the mutex protects is paged; the mutex is not.
#include <ntddk.h>

static FAST_MUTEX Mutex;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG *Entries = ExAllocatePool2(POOL_FLAG_PAGED, 8 * sizeof(*Entries), 'elbT');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Entries == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    Entries[0]++;
    ExReleaseFastMutex(&Mutex);
    ExFreePoolWithTag(Entries, 'elbT');
    return STATUS_SUCCESS;
}
