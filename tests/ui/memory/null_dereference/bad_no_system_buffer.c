/* The input is read before the control code is looked at: lengths are there for every code, the
   system buffer is not. */
#include "ui_driver.h"

#define IOCTL_SET UI_IOCTL(METHOD_BUFFERED)

static volatile LONG Level;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    LONG Wanted;

    UNREFERENCED_PARAMETER(Device);
    if (Stack->Parameters.DeviceIoControl.InputBufferLength < sizeof(LONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Wanted = *(PLONG)Irp->AssociatedIrp.SystemBuffer; //~ memory::null_dereference
    if (Wanted < 0 || Wanted > 10) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    if (Stack->Parameters.DeviceIoControl.IoControlCode != IOCTL_SET) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    InterlockedExchange(&Level, Wanted);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
