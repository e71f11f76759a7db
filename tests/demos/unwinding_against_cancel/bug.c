//@depth: 2
//@expect: irp::completed_twice, irp::touched_after_completion, bug_check::raised
//@bug: When no work item is to be had, the queued request is completed even if it is cancelled.
/* Requests wait in a queue for a work item that answers the oldest one. */
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static LIST_ENTRY Queue;

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

/* The oldest request that nobody cancels. */
static PIRP Dequeue(VOID)
{
    PIRP Found = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    while (Found == NULL && !IsListEmpty(&Queue)) {
        PIRP Irp = CONTAINING_RECORD(RemoveHeadList(&Queue), IRP, Tail.Overlay.ListEntry);

        if (IoSetCancelRoutine(Irp, NULL) != NULL) Found = Irp;
        else InitializeListHead(&Irp->Tail.Overlay.ListEntry); /* OnCancel takes it out of this. */
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    return Found;
}

static VOID Work(PVOID Device, PVOID Context, PIO_WORKITEM Item)
{
    PIRP Irp = Dequeue();

    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    IoFreeWorkItem(Item);
    if (Irp != NULL) UiComplete(Irp, STATUS_SUCCESS, 0);
}

/* The newest request goes back to its caller. */
static VOID GiveUp(VOID)
{
    PIRP Irp = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (!IsListEmpty(&Queue)) {
        Irp = CONTAINING_RECORD(Queue.Blink, IRP, Tail.Overlay.ListEntry);
        RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
        InitializeListHead(&Irp->Tail.Overlay.ListEntry);
        IoSetCancelRoutine(Irp, NULL);
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    if (Irp != NULL) UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PIO_WORKITEM Item;
    NTSTATUS Status;

    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Status = Pend(Irp);
    Item = IoAllocateWorkItem(Device);
    if (Item != NULL) IoQueueWorkItemEx(Item, Work, DelayedWorkQueue, NULL);
    else GiveUp();
    return Status;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Queue);
    return UiStart(Driver, DeviceControl);
}
