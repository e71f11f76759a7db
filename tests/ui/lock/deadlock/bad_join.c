// Unload waits for the thread with the mutex held that the thread needs before it can end.
#include <ntddk.h>

static KEVENT Stop;
static FAST_MUTEX Lock;
static PVOID Thread;
static ULONG Rounds;

static VOID Work(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&Stop, Executive, KernelMode, FALSE, NULL);
    ExAcquireFastMutex(&Lock); //~ lock::deadlock
    Rounds++;
    ExReleaseFastMutex(&Lock);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ExAcquireFastMutex(&Lock); //~ NOTE: acquired the fast mutex
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ExReleaseFastMutex(&Lock);
    ObDereferenceObject(Thread);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Handle;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    ExInitializeFastMutex(&Lock);
    Status = PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, NULL);
    if (!NT_SUCCESS(Status)) return Status;
    ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Thread, NULL);
    ZwClose(Handle);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
