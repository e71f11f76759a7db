// Inside a fast mutex the IRQL is APC_LEVEL: waiting and strings are still allowed there.
#include <ntddk.h>

static FAST_MUTEX Mutex;
static KEVENT Event;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    WCHAR Buffer[64];
    UNICODE_STRING Copy = {0, sizeof(Buffer), Buffer};
    LARGE_INTEGER Short;

    UNREFERENCED_PARAMETER(Driver);

    ExInitializeFastMutex(&Mutex);
    KeInitializeEvent(&Event, SynchronizationEvent, TRUE);
    ExAcquireFastMutex(&Mutex);
    RtlCopyUnicodeString(&Copy, RegistryPath);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
    Short.QuadPart = -10000;
    KeDelayExecutionThread(KernelMode, FALSE, &Short);
    ExReleaseFastMutex(&Mutex);
    DbgPrint("%wZ\n", &Copy);
    return STATUS_SUCCESS;
}
