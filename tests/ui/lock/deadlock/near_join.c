// Unload gives the mutex back before it waits for the thread that needs it.
#include <ntddk.h>

static KEVENT Stop;
static FAST_MUTEX Lock;
static PVOID Thread;
static ULONG Rounds;

static VOID Work(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&Stop, Executive, KernelMode, FALSE, NULL);
    ExAcquireFastMutex(&Lock);
    Rounds++;
    ExReleaseFastMutex(&Lock);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ExAcquireFastMutex(&Lock);
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
    Rounds = 0;
    ExReleaseFastMutex(&Lock);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
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
