// An event stops the thread, and its object is awaited.
#include <ntddk.h>

static KEVENT Stop;
static ULONG Rounds;
static PVOID Object;

static VOID Work(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&Stop, Executive, KernelMode, FALSE, NULL);
    Rounds++;
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Object);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Thread;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, NULL);
    if (!NT_SUCCESS(Status)) return Status;
    Status = ObReferenceObjectByHandle(
        Thread, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, &Object, NULL);
    ZwClose(Thread);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
