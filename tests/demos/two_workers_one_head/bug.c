//@depth: 1
//@expect: irp::completed_twice, irp::touched_after_completion, irp::never_completed
//@bug: A worker looks at the head of the queue and removes the head later, maybe another one.
/* Every request brings a work item of its own; each work item answers one queued request. */
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static LIST_ENTRY Queue;

static VOID Work(PVOID Device, PVOID Context, PIO_WORKITEM Item)
{
    PIRP Irp;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    IoFreeWorkItem(Item);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Irp = CONTAINING_RECORD(Queue.Flink, IRP, Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Lock, OldIrql);
    DbgPrint("request of length %u\n",
        IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.InputBufferLength);
    KeAcquireSpinLock(&Lock, &OldIrql);
    RemoveHeadList(&Queue);
    KeReleaseSpinLock(&Lock, OldIrql);
    UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PIO_WORKITEM Item;

    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Item = IoAllocateWorkItem(Device);
    if (Item == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    IoMarkIrpPending(Irp);
    ExInterlockedInsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry, &Lock);
    IoQueueWorkItemEx(Item, Work, DelayedWorkQueue, NULL);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Queue);
    return UiStart(Driver, DeviceControl);
}
