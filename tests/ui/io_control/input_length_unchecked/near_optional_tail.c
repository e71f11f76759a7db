// Old callers send a shorter structure; the newer field is read only if it was sent.
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
    ULONG Length = At->Parameters.DeviceIoControl.InputBufferLength;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Length < FIELD_OFFSET(REQUEST, Level)) {
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    Level = Length < sizeof(REQUEST) ? 1 : Request->Level;
    if (!Request->Enable) Level = 0;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
