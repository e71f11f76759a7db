// Behind a magic number, a version and a length, an index is checked and fetched again.
#include "ui_driver.h"

#define MAGIC 0x31514552

typedef struct _REQUEST {
    ULONG Magic;
    USHORT Version;
    USHORT Bytes;
    ULONG Reserved;
    volatile ULONG Kind;
    ULONG Value;
} REQUEST;

static const UCHAR Cost[4] = {1, 2, 3, 4};

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile REQUEST *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    ULONG Sum;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.InputBufferLength != sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_BUFFER_SIZE, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(REQUEST), sizeof(UCHAR));
        if (In->Magic != MAGIC || In->Version != 3 || In->Bytes != sizeof(REQUEST)) {
            return UiComplete(Irp, STATUS_REVISION_MISMATCH, 0);
        }
        if (In->Kind >= 4) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        Sum = Cost[In->Kind]; //~ user_buffer::fetched_twice
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
