// The caller names the register; all but one are refused.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PULONG64 Buffer = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG64)
        || At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG64)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (*Buffer != 0x1B) return UiComplete(Irp, STATUS_ACCESS_DENIED, 0);
    *Buffer = __readmsr((ULONG)*Buffer);
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(*Buffer));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
