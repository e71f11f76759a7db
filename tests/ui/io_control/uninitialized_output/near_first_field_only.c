// The driver fills one field of a larger structure and returns only this field.
#include "ui_driver.h"

typedef struct _REPLY {
    ULONG Version;
    ULONG Reserved[3];
} REPLY, *PREPLY;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PREPLY Reply = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(REPLY)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Reply->Version = 3;
    return UiComplete(Irp, STATUS_SUCCESS, FIELD_OFFSET(REPLY, Reserved));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
