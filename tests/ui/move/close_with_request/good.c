// The close frees what requests use: it comes after all of them.
#include "ui_driver.h"

typedef struct {
    LONG Requests;
} SLOT;

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Slot), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (!Slot) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Slot->Requests = 0;
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Slot;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;
    LARGE_INTEGER Delay;

    UNREFERENCED_PARAMETER(Device);
    Delay.QuadPart = -10000;
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    InterlockedIncrement(&Slot->Requests);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS End(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    ExFreePoolWithTag(Slot, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = End;
    return STATUS_SUCCESS;
}
