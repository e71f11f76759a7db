//@depth: 1
//@expect: irp::completed_twice, irp::touched_after_completion, bug_check::raised
//@bug: The timer completes a request without asking whether its cancel routine is on the way.
/* Reads are answered 10 ms later, all at once, by a timer; callers may cancel them before. */
#include "ui_driver.h"

#define DELAY_MS 10

static KSPIN_LOCK Lock;
static LIST_ENTRY Queue;
static KTIMER Timer;
static KDPC Dpc;

static VOID OnCancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KeAcquireSpinLock(&Lock, &OldIrql);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Lock, OldIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Pend(PIRP Irp)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    IoMarkIrpPending(Irp);
    InsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry);
    IoSetCancelRoutine(Irp, OnCancel);
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        /* Cancelled before the routine was set: nobody else will complete it. */
        RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
        KeReleaseSpinLock(&Lock, OldIrql);
        UiComplete(Irp, STATUS_CANCELLED, 0);
        return STATUS_PENDING;
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    return STATUS_PENDING;
}

static PIRP Dequeue(VOID)
{
    PIRP Irp = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (!IsListEmpty(&Queue)) {
        Irp = CONTAINING_RECORD(RemoveHeadList(&Queue), IRP, Tail.Overlay.ListEntry);
        InitializeListHead(&Irp->Tail.Overlay.ListEntry);
        IoSetCancelRoutine(Irp, NULL);
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    return Irp;
}

static VOID OnTimer(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    PIRP Irp;

    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    while ((Irp = Dequeue()) != NULL) UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    Status = Pend(Irp);
    Due.QuadPart = -10000LL * DELAY_MS;
    KeSetTimer(&Timer, Due, &Dpc);
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Queue);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, OnTimer, NULL);
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Status = UiStart(Driver, DeviceControl);
    Driver->DriverUnload = Unload;
    return Status;
}
