// The driver copies the header to check it, then copies header and data, and uses the length of the
// second copy.
#include "ui_driver.h"

typedef struct _HEADER {
    ULONG Tag;
    ULONG Version;
    ULONG Length;
    ULONG Reserved;
} HEADER;

typedef struct _REQUEST {
    HEADER Header;
    UCHAR Data[48];
} REQUEST;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    REQUEST *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    HEADER Header;
    REQUEST Copy;
    UCHAR Last = 0;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead(In, sizeof(REQUEST), sizeof(UCHAR));
        RtlCopyMemory(&Header, In, sizeof(Header));
        if (Header.Length > sizeof(Copy.Data)) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        // What a call between the two does: the compiler must not take the first copy for both.
        __asm__ __volatile__("" : : : "memory");
        RtlCopyMemory(&Copy, In, sizeof(Copy)); //~ user_buffer::fetched_twice
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    if (Copy.Header.Length != 0) {
        Last = ((volatile UCHAR *)Copy.Data)[Copy.Header.Length - 1];
    }
    return UiComplete(Irp, Last ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
