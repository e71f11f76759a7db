// What the driver follows in the other file it has stored there.
#include "ui_driver.h"

static ULONG Depths[2] = { 1, 2 };

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    PULONG Above;

    UNREFERENCED_PARAMETER(Device);
    Above = File->RelatedFileObject ? File->RelatedFileObject->FsContext : NULL;
    if (Above && *Above > 1) return UiComplete(Irp, STATUS_OBJECT_NAME_INVALID, 0);
    File->FsContext = &Depths[Above ? 1 : 0];
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

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
    return STATUS_SUCCESS;
}
