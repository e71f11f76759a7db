// The driver checks the length in the caller's structure, copies the whole structure with a string
// instruction, and uses the length of the copy.
#include "ui_driver.h"

typedef struct _REQUEST {
    UCHAR Data[56];
    ULONG Length;
    ULONG Reserved;
} REQUEST;

// What compilers make of __movsb.
static void CopyBytes(PUCHAR To, PUCHAR From, SIZE_T Length)
{
    __asm__ __volatile__("rep movsb" //~ user_buffer::fetched_twice
                         : "+D"(To), "+S"(From), "+c"(Length) : : "memory");
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile REQUEST *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    REQUEST Copy;
    ULONG Length;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(REQUEST), sizeof(UCHAR));
        Length = In->Length;
        if (Length == 0 || Length > sizeof(Copy.Data)) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        CopyBytes((PUCHAR)&Copy, (PUCHAR)In, sizeof(Copy));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    Copy.Data[Copy.Length - 1] = 0;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
