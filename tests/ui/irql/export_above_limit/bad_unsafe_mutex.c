// The unsafe form of the fast mutex is acquired where APCs can suspend its owner.
#include <ntddk.h>

static FAST_MUTEX Mutex;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutexUnsafe(&Mutex); //~ irql::export_above_limit
    ExReleaseFastMutexUnsafe(&Mutex);
    return STATUS_SUCCESS;
}
