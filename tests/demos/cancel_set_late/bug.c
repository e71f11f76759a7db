//@depth: 1
//@expect: irp::never_completed
//@bug: A request cancelled just before its cancel routine is set is queued all the same.
/* Reads wait until a write comes, which answers all of them. */
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

    IoMarkIrpPending(Irp);
    KeAcquireSpinLock(&Lock, &OldIrql);
    InsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry);
    IoSetCancelRoutine(Irp, OnCancel);
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

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return Pend(Irp);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Waiting;

    UNREFERENCED_PARAMETER(Device);
    while ((Waiting = Dequeue()) != NULL) UiComplete(Waiting, STATUS_SUCCESS, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Queue);
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    return UiStart(Driver, DeviceControl);
}
