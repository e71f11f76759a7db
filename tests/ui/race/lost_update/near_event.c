// A synchronization event hands the counter over.
#include "ui_driver.h"

static KEVENT Turn;
static LONG Requests;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    KeWaitForSingleObject(&Turn, Executive, KernelMode, FALSE, NULL);
    Requests++;
    KeSetEvent(&Turn, IO_NO_INCREMENT, FALSE);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Turn, SynchronizationEvent, TRUE);
    return UiStart(Driver, DeviceControl);
}
