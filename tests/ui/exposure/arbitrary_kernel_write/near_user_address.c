// The address in the buffer must pass a probe: only memory of the caller is written.
#include "ui_driver.h"

typedef struct _REQUEST {
    ULONG64 Where;
    ULONG64 What;
} REQUEST, *PREQUEST;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PREQUEST Request = Irp->AssociatedIrp.SystemBuffer;
    volatile ULONG64 *Target;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Target = (volatile ULONG64 *)Request->Where;
    __try {
        ProbeForWrite((PVOID)Target, sizeof(*Target), sizeof(UCHAR));
        *Target = Request->What;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
