// The cleanup waits for the requests that are still on their way, and refuses later ones.
#include "ui_driver.h"

typedef struct {
    LONG Requests;
    EX_RUNDOWN_REF Users;
} SLOT;

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Slot), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (!Slot) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Slot->Requests = 0;
    ExInitializeRundownProtection(&Slot->Users);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Slot;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;
    LARGE_INTEGER Delay;

    UNREFERENCED_PARAMETER(Device);
    Delay.QuadPart = -10000;
    if (!ExAcquireRundownProtection(&Slot->Users)) {
        return UiComplete(Irp, STATUS_FILE_CLOSED, 0);
    }
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    InterlockedIncrement(&Slot->Requests);
    ExReleaseRundownProtection(&Slot->Users);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    SLOT *Slot = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    ExWaitForRundownProtectionRelease(&Slot->Users);
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
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = End;
    return STATUS_SUCCESS;
}
