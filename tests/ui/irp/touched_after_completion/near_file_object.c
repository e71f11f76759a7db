// After the completion the driver touches the file object, on which it holds a reference.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;

    UNREFERENCED_PARAMETER(Device);
    ObReferenceObject(File);
    UiComplete(Irp, STATUS_SUCCESS, 0);
    InterlockedExchangePointer(&File->FsContext2, Device);
    ObDereferenceObject(File);
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
