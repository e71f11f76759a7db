// The driver keeps the pointer of a neither-I/O request and compares it; it never follows it.
#include "ui_driver.h"

static PVOID Last;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PVOID Before;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Before = InterlockedExchangePointer(&Last, Irp->UserBuffer);
    if (Before == Irp->UserBuffer) return UiComplete(Irp, STATUS_NO_MORE_ENTRIES, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
