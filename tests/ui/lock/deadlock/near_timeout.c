// Two threads meet with their locks held; one gives up after a while.
#include <ntddk.h>

static KMUTEX Outer;
static FAST_MUTEX Inner;
static PVOID Threads[2];
static LONG Count;

static VOID Sleep(VOID)
{
    LARGE_INTEGER Moment = { .QuadPart = -10 * 1000 };

    KeDelayExecutionThread(KernelMode, FALSE, &Moment);
}

static VOID InOrder(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&Outer, Executive, KernelMode, FALSE, NULL);
    Sleep();
    ExAcquireFastMutex(&Inner);
    Count++;
    ExReleaseFastMutex(&Inner);
    KeReleaseMutex(&Outer, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Reversed(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        LARGE_INTEGER Patience = { .QuadPart = -10 * 10 * 1000 };
        NTSTATUS Status;

        ExAcquireFastMutex(&Inner);
        Sleep();
        Status = KeWaitForSingleObject(&Outer, Executive, KernelMode, FALSE, &Patience);
        if (Status == STATUS_SUCCESS) break;
        ExReleaseFastMutex(&Inner);
    }
    Count++;
    KeReleaseMutex(&Outer, FALSE);
    ExReleaseFastMutex(&Inner);
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
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeMutex(&Outer, 0);
    ExInitializeFastMutex(&Inner);
    Driver->DriverUnload = Unload;
    for (ULONG i = 0; i < 2; i++) {
        HANDLE Thread;
        NTSTATUS Status = PsCreateSystemThread(
            &Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, i ? Reversed : InOrder, NULL);

        if (!NT_SUCCESS(Status)) {
            Unload(Driver);
            return Status;
        }
        ObReferenceObjectByHandle(Thread, THREAD_ALL_ACCESS, NULL, KernelMode, &Threads[i], NULL);
        ZwClose(Thread);
    }
    return STATUS_SUCCESS;
}
