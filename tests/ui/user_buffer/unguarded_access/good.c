// The driver probes the buffer and writes to it inside __try.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG *Out = Irp->UserBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(*Out)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForWrite((PVOID)Out, sizeof(*Out), sizeof(UCHAR));
        *Out = 42;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(*Out));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
