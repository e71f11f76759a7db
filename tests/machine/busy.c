/* Two system threads, a DPC timer and a work item share a counter under a spin lock. */
#include <ntddk.h>

#define PERIOD_MS 1
#define TICK_100NS 10000

static struct {
    KSPIN_LOCK Lock;
    ULONG64 Guarded;
    volatile LONG Stop;
    volatile LONG IsQueued;
    KTIMER Timer;
    KDPC Dpc;
    KEVENT Worked;
    PIO_WORKITEM WorkItem;
    PVOID Threads[2];
} State;

static VOID Count(ULONG64 By)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&State.Lock, &OldIrql);
    State.Guarded += By;
    KeReleaseSpinLock(&State.Lock, OldIrql);
}

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    Count(1);
    InterlockedExchange(&State.IsQueued, 0);
    KeSetEvent(&State.Worked, IO_NO_INCREMENT, FALSE);
}

static VOID Tick(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeAcquireSpinLockAtDpcLevel(&State.Lock);
    State.Guarded++;
    KeReleaseSpinLockFromDpcLevel(&State.Lock);
    if (InterlockedCompareExchange(&State.IsQueued, 1, 0) == 0) {
        KeClearEvent(&State.Worked);
        IoQueueWorkItem(State.WorkItem, Work, DelayedWorkQueue, NULL);
    }
}

static VOID Busy(PVOID Context)
{
    ULONG64 Mixed = (ULONG_PTR)Context + 1;
    ULONG i;

    while (!State.Stop) {
        for (i = 0; i < 1000; i++) Mixed = Mixed * 6364136223846793005ULL + (Mixed >> 33);
        Count(Mixed);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ULONG i;

    InterlockedExchange(&State.Stop, 1);
    for (i = 0; i < 2; i++) {
        if (State.Threads[i] == NULL) continue;
        KeWaitForSingleObject(State.Threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(State.Threads[i]);
    }
    KeCancelTimer(&State.Timer);
    KeFlushQueuedDpcs();
    KeWaitForSingleObject(&State.Worked, Executive, KernelMode, FALSE, NULL);
    IoFreeWorkItem(State.WorkItem);
    IoDeleteDevice(Driver->DeviceObject);
}

static NTSTATUS Start(ULONG Number)
{
    HANDLE Handle;
    NTSTATUS Status;

    Status = PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Busy,
                                  (PVOID)(ULONG_PTR)Number);
    if (!NT_SUCCESS(Status)) return Status;
    Status = ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode,
                                       &State.Threads[Number], NULL);
    ZwClose(Handle);
    return Status;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    State.WorkItem = IoAllocateWorkItem(Device);
    if (State.WorkItem == NULL) {
        IoDeleteDevice(Device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeSpinLock(&State.Lock);
    KeInitializeEvent(&State.Worked, NotificationEvent, TRUE);
    KeInitializeTimer(&State.Timer);
    KeInitializeDpc(&State.Dpc, Tick, NULL);
    Driver->DriverUnload = Unload;
    Due.QuadPart = -TICK_100NS;
    KeSetTimerEx(&State.Timer, Due, PERIOD_MS, &State.Dpc);
    Status = Start(0);
    if (NT_SUCCESS(Status)) Status = Start(1);
    if (!NT_SUCCESS(Status)) Unload(Driver);
    return Status;
}
