// The mutex is released by a __finally block, on a return and on an exception out of the block.
#include <ntddk.h>

static FAST_MUTEX Mutex;

static NTSTATUS Guarded(ULONG Way)
{
    ExAcquireFastMutex(&Mutex);
    __try {
        if (Way == 1) return STATUS_SUCCESS;
        if (Way == 2) ExRaiseStatus(STATUS_INVALID_PARAMETER);
    } __finally {
        ExReleaseFastMutex(&Mutex);
    }
    return STATUS_UNSUCCESSFUL;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG Way;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    ExInitializeFastMutex(&Mutex);
    for (Way = 0; Way < 3; Way++) {
        __try {
            DbgPrint("way %u: %x\n", Way, Guarded(Way));
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            DbgPrint("way %u: raised %x\n", Way, GetExceptionCode());
        }
    }
    return STATUS_SUCCESS;
}
