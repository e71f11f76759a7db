// The driver reads CR0 and CR4 and tells the caller whether they match its mask.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG64 Mask;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG64)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Mask = *(PULONG64)Irp->AssociatedIrp.SystemBuffer;
    if ((__readcr0() ^ __readcr4()) & Mask) return UiComplete(Irp, STATUS_NOT_FOUND, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
