// A variable is set on one path and tested on both.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG Mode;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.InputBufferLength >= 4096) Mode = 1;
    if (Mode == 0) { //~ memory::uninitialized_use
        DbgPrint("no mode\n");
        return UiComplete(Irp, STATUS_INVALID_DEVICE_STATE, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
