// Each processor counts for itself, at DISPATCH_LEVEL.
#include "ui_driver.h"

static LONG Requests[64];

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Requests[KeGetCurrentProcessorNumberEx(NULL) % 64]++;
    KeLowerIrql(OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
