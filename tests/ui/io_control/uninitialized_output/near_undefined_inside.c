// Undefined bytes are copied about inside the driver; the caller gets the one that was written.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PUCHAR Out = Irp->AssociatedIrp.SystemBuffer;
    PUCHAR Old;
    UCHAR Copy[32];

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (!At->Parameters.DeviceIoControl.OutputBufferLength) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Old = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(Copy), UI_TAG);
    if (!Old) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    *(volatile UCHAR *)&Old[7] = 42;
    RtlCopyMemory(Copy, Old, sizeof(Copy));
    ExFreePoolWithTag(Old, UI_TAG);
    *Out = *(volatile UCHAR *)&Copy[7];
    return UiComplete(Irp, STATUS_SUCCESS, 1);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
