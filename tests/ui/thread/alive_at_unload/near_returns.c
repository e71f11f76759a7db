// The routine of the thread returns, and has long done so.
#include <ntddk.h>

static volatile LONG IsOver;
static PVOID Object;

static VOID Work(PVOID Context)
{
    LARGE_INTEGER Moment;

    UNREFERENCED_PARAMETER(Context);
    Moment.QuadPart = -100000;
    while (!IsOver) KeDelayExecutionThread(KernelMode, FALSE, &Moment);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);

    IsOver = TRUE;
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Object);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Thread;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, NULL);
    if (!NT_SUCCESS(Status)) return Status;
    Status = ObReferenceObjectByHandle(
        Thread, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, &Object, NULL);
    ZwClose(Thread);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
