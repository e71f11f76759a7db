// A number from the caller is divided by without a look at it.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG *Numbers = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.InputBufferLength < 2 * sizeof(ULONG) ||
        At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Numbers[0] = Numbers[0] / Numbers[1]; //~ exception::unhandled
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
