// A file has room for one waiting request; a second one takes its place, and the first is lost.
//@needs: second_request
#include "ui_driver.h"

typedef struct {
    KSPIN_LOCK Lock;
    PIRP Waiting;
    BOOLEAN IsClosed;
} SLOT;

static SLOT *SlotOf(PIRP Irp)
{
    return IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Slot), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (!Slot) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    KeInitializeSpinLock(&Slot->Lock);
    Slot->Waiting = NULL;
    Slot->IsClosed = FALSE;
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Slot;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

/* The one that waits is woken by the cleanup of its file. */
static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = SlotOf(Irp);
    PIRP Waiting;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Slot->Lock, &Irql);
    Waiting = Slot->Waiting;
    Slot->Waiting = NULL;
    Slot->IsClosed = TRUE;
    KeReleaseSpinLock(&Slot->Lock, Irql);
    if (Waiting) UiComplete(Waiting, STATUS_CANCELLED, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExFreePoolWithTag(SlotOf(Irp), UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Wait(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = SlotOf(Irp);
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Slot->Lock, &Irql);
    if (Slot->IsClosed) {
        KeReleaseSpinLock(&Slot->Lock, Irql);
        return UiComplete(Irp, STATUS_FILE_CLOSED, 0);
    }
    IoMarkIrpPending(Irp);
    Slot->Waiting = Irp;
    KeReleaseSpinLock(&Slot->Lock, Irql);
    return STATUS_PENDING;
} //~ irp::never_completed

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    Driver->MajorFunction[IRP_MJ_READ] = Wait;
    return STATUS_SUCCESS;
}
