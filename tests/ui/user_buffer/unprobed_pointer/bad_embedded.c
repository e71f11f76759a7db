// The pointer that the driver reads from stands in the caller's structure.
#include "ui_driver.h"

typedef struct _REQUEST {
    volatile ULONG *Data;
} REQUEST;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    REQUEST *Request = Irp->AssociatedIrp.SystemBuffer;
    volatile ULONG Value;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        Value = *Request->Data; //~ user_buffer::unprobed_pointer
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, Value ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
