// The routine completes with STATUS_BUFFER_OVERFLOW and what fits, and returns the same.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    static const CHAR Text[] = "longer than many buffers";
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = min(At->Parameters.DeviceIoControl.OutputBufferLength, sizeof(Text));

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Length) RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, Text, Length);
    return UiComplete(
        Irp, Length < sizeof(Text) ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS, Length);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
