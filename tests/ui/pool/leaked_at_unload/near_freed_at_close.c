// The block of a handle is allocated at create, hangs on the file object and is freed at close.
#include "ui_driver.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;

    UNREFERENCED_PARAMETER(Device);
    File->FsContext = ExAllocatePoolWithTag(PagedPool, 64, UI_TAG);
    return UiComplete(Irp, File->FsContext ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExFreePoolWithTag(IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return STATUS_SUCCESS;
}
