// Two threads wait for each other's event; a timer sets one of them after a second.
#include <ntddk.h>

static KEVENT Events[2];
static KMUTEX Lock;
static KTIMER Timer;
static KDPC Dpc;
static PVOID Threads[2];
static ULONG Count;

static VOID Expired(PKDPC Self, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Self);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeSetEvent(&Events[0], IO_NO_INCREMENT, FALSE);
}

static VOID Work(PVOID Context)
{
    ULONG Own = Context != NULL;

    if (!Own) KeWaitForSingleObject(&Lock, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Events[Own], Executive, KernelMode, FALSE, NULL);
    KeSetEvent(&Events[!Own], IO_NO_INCREMENT, FALSE);
    if (Own) KeWaitForSingleObject(&Lock, Executive, KernelMode, FALSE, NULL);
    Count++;
    KeReleaseMutex(&Lock, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    for (ULONG i = 0; i < 2; i++) {
        if (!Threads[i]) continue;
        KeWaitForSingleObject(Threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Threads[i]);
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due = { .QuadPart = -10 * 1000 * 1000 };

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Events[0], SynchronizationEvent, FALSE);
    KeInitializeEvent(&Events[1], SynchronizationEvent, FALSE);
    KeInitializeMutex(&Lock, 0);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Expired, NULL);
    Driver->DriverUnload = Unload;
    KeSetTimer(&Timer, Due, &Dpc);
    for (ULONG i = 0; i < 2; i++) {
        HANDLE Thread;
        NTSTATUS Status = PsCreateSystemThread(
            &Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, i ? &Events[1] : NULL);

        if (!NT_SUCCESS(Status)) {
            KeCancelTimer(&Timer);
            KeFlushQueuedDpcs();
            KeSetEvent(&Events[0], IO_NO_INCREMENT, FALSE);
            Unload(Driver);
            return Status;
        }
        ObReferenceObjectByHandle(Thread, THREAD_ALL_ACCESS, NULL, KernelMode, &Threads[i], NULL);
        ZwClose(Thread);
    }
    return STATUS_SUCCESS;
}
