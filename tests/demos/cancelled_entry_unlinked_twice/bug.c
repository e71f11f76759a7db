//@depth: 1
//@expect: bug_check::raised, irp::completed_twice, memory::use_after_free
//@bug: A request being cancelled is skipped, but its stale links are left for its cancel routine.
/* Control requests of one code wait; another code answers the oldest one. */
#include "ui_driver.h"

#define IOCTL_WAIT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x810, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_ANSWER CTL_CODE(FILE_DEVICE_UNKNOWN, 0x820, METHOD_BUFFERED, FILE_ANY_ACCESS)

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
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    return Found;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Waiting;

    UNREFERENCED_PARAMETER(Device);
    switch (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_WAIT:
        return Pend(Irp);
    case IOCTL_ANSWER:
        Waiting = Dequeue();
        if (Waiting == NULL) return UiComplete(Irp, STATUS_NOT_FOUND, 0);
        UiComplete(Waiting, STATUS_SUCCESS, 0);
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Queue);
    return UiStart(Driver, DeviceControl);
}
