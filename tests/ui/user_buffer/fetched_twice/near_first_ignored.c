// The first fetch only finds out whether the page is there; what it read is thrown away.
#include "ui_driver.h"

typedef struct _REQUEST {
    ULONG Length;
    UCHAR Data[60];
} REQUEST;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile REQUEST *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    REQUEST Copy;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(REQUEST), sizeof(UCHAR));
        (VOID)In->Length;
        RtlCopyMemory(&Copy, (PVOID)In, sizeof(Copy));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, Copy.Length < 60 ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
