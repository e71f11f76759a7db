// The driver checks an index in the caller's structure and fetches it again for the table.
#include "ui_driver.h"

typedef struct _REQUEST {
    volatile ULONG Kind;
    ULONG Value;
} REQUEST;

static const UCHAR Cost[8] = {1, 2, 3, 4, 9, 9, 9, 9};

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile REQUEST *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    ULONG Sum;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(REQUEST), sizeof(UCHAR));
        if (In->Kind >= 4) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        Sum = Cost[In->Kind & 7]; //~ user_buffer::fetched_twice
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, Sum > 2 ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
