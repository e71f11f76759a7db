// The driver checks the length in the caller's structure and fetches it again for the copy.
//@needs: user_bytes_change
#include "ui_driver.h"

typedef struct _REQUEST {
    ULONG Length;
    UCHAR Data[60];
} REQUEST;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile REQUEST *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    UCHAR Copy[60];
    ULONG Length;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(REQUEST), sizeof(UCHAR));
        Length = In->Length;
        if (Length > sizeof(Copy)) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        RtlCopyMemory(Copy, (PVOID)In->Data, In->Length); //~ user_buffer::fetched_twice
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, Length ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
