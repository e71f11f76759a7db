// A variable is set on one path and returned on both.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile NTSTATUS Result;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.InputBufferLength >= 4096) Result = STATUS_SUCCESS;
    Status = Result;
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT); //~ memory::uninitialized_use
    return Status;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
