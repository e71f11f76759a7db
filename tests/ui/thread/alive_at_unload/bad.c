// Unload tells the thread to end, and does not wait until it has.
#include <ntddk.h>

static volatile LONG IsOver;

static VOID Work(PVOID Context)
{
    LARGE_INTEGER Moment;

    UNREFERENCED_PARAMETER(Context);
    Moment.QuadPart = -100000;
    while (!IsOver) KeDelayExecutionThread(KernelMode, FALSE, &Moment);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    IsOver = TRUE;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Thread;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, NULL);
    //~^ thread::alive_at_unload
    if (!NT_SUCCESS(Status)) return Status;
    ZwClose(Thread);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
