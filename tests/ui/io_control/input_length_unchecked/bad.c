// The driver acts on a field of its input without a look at the input length.
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
    if (!Request) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Level = Request->Level; //~ io_control::input_length_unchecked
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
