// One of each kind, and the current thread and process.
#include <ntddk.h>

static KEVENT Event;
static KMUTEX Mutex;
static KSEMAPHORE Semaphore;
static KTIMER Timer;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -10000;
    KeInitializeEvent(&Event, SynchronizationEvent, TRUE);
    KeInitializeMutex(&Mutex, 0);
    KeInitializeSemaphore(&Semaphore, 1, 2);
    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, Due, NULL);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    KeReleaseMutex(&Mutex, FALSE);
    KeWaitForSingleObject(&Semaphore, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(PsGetCurrentThread(), Executive, KernelMode, FALSE, &Due);
    KeWaitForSingleObject(PsGetCurrentProcess(), Executive, KernelMode, FALSE, &Due);
    return STATUS_SUCCESS;
}
