// The driver looks at the output length alone, and then decides by a field of its input.
#include "ui_driver.h"

typedef struct _REQUEST {
    ULONG Enable;
    ULONG Level;
} REQUEST, *PREQUEST;

static volatile ULONG Level;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PREQUEST Request = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(REQUEST)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    if (Request->Enable > 7) { //~ io_control::input_length_unchecked
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    Level = 1;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
