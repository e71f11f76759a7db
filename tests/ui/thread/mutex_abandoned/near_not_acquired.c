// The wait timed out: the mutex belongs to another thread.
#include <ntddk.h>

static KMUTEX Mutex;
static PVOID Object;
static ULONG Rounds;

static VOID Work(PVOID Context)
{
    LARGE_INTEGER Moment;

    UNREFERENCED_PARAMETER(Context);
    Moment.QuadPart = -10000;
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, &Moment);
    Rounds++;
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    Rounds = 0;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Thread;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeMutex(&Mutex, 0);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, NULL);
    if (!NT_SUCCESS(Status)) {
        KeReleaseMutex(&Mutex, FALSE);
        return Status;
    }
    Status = ObReferenceObjectByHandle(
        Thread, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, &Object, NULL);
    ZwClose(Thread);
    if (!NT_SUCCESS(Status)) {
        KeReleaseMutex(&Mutex, FALSE);
        return Status;
    }
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    KeReleaseMutex(&Mutex, FALSE);
    ObDereferenceObject(Object);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
