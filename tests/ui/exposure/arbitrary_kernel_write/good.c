// The caller's number is an index into a table of the driver.
#include "ui_driver.h"

typedef struct _REQUEST {
    ULONG64 Where;
    ULONG64 What;
} REQUEST, *PREQUEST;

static volatile ULONG64 Table[16];

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
    if (Request->Where >= RTL_NUMBER_OF(Table)) {
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    Target = &Table[Request->Where];
    __try {
        *Target = 42;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
