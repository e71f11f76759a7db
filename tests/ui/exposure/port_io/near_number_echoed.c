// The caller's number goes back to it beside the value of a fixed port.
#include "ui_driver.h"

typedef struct _REPLY {
    ULONG Number;
    ULONG Value;
} REPLY, *PREPLY;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PREPLY Reply = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)
        || At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(REPLY)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Reply->Value = __inbyte(0x71);
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(REPLY));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
