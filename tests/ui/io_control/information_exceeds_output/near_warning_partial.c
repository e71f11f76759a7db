// A warning with data: Information is what fits, the first field what there is.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.OutputBufferLength;
    PULONG Out = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Length < 16) return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    Length = min(Length, 256);
    RtlZeroMemory(Out, Length);
    Out[0] = 256;
    return UiComplete(Irp, Length < 256 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS, Length);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
