// The caller gets a kernel address as a cookie and sends it back; it is compared with the only
// object there is, and followed if it is the same.
#include "ui_driver.h"

static volatile ULONG64 Object;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PULONG64 Cookie = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG64)
        || At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG64)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (*Cookie == (ULONG64)(ULONG_PTR)&Object) {
        *(volatile ULONG64 *)*Cookie = 42;
    } else {
        *Cookie = (ULONG64)(ULONG_PTR)&Object;
    }
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(*Cookie));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
