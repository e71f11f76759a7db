// The driver follows what it never stored in the file that a name is relative to.
//@needs: relative_open
#include "ui_driver.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    ULONG Depth = 0;

    UNREFERENCED_PARAMETER(Device);
    if (File->RelatedFileObject) {
        Depth = *(PULONG)File->RelatedFileObject->FsContext + 1; //~ memory::null_dereference
    }
    if (Depth > 8) return UiComplete(Irp, STATUS_OBJECT_NAME_INVALID, 0);
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
