// The unsafe forms of the fast mutex: inside a critical region at PASSIVE_LEVEL, and at APC_LEVEL.
#include <ntddk.h>

static FAST_MUTEX Mutex;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    ExInitializeFastMutex(&Mutex);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Mutex);
    ExReleaseFastMutexUnsafe(&Mutex);
    KeLeaveCriticalRegion();
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    ExAcquireFastMutexUnsafe(&Mutex);
    ExReleaseFastMutexUnsafe(&Mutex);
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
