// The driver reads the buffer behind the input, where it has just written its own output.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG *Buffer = Irp->AssociatedIrp.SystemBuffer;
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < 4 * sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Buffer[0] = 1;
    for (i = 1; i < 4; i++) Buffer[i] = 2 * Buffer[i - 1];
    if (Buffer[3] != 8) return UiComplete(Irp, STATUS_INTERNAL_ERROR, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 4 * sizeof(ULONG));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
