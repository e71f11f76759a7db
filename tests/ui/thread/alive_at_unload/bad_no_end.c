// Nothing ever ends the thread.
#include <ntddk.h>

static KEVENT Stop;
static ULONG Rounds;

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
    Rounds = 0;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Thread;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, NULL);
    //~^ thread::alive_at_unload
    if (!NT_SUCCESS(Status)) return Status;
    ZwClose(Thread);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
