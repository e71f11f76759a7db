// The driver looks into the system buffer of a request that it has completed.
#include "ui_driver.h"

static volatile ULONG Last;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PULONG Buffer = Irp->AssociatedIrp.SystemBuffer;
    ULONG Length = At->Parameters.DeviceIoControl.InputBufferLength;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    UiComplete(Irp, STATUS_SUCCESS, 0);
    if (Length >= sizeof(*Buffer)) Last = *Buffer; //~ irp::touched_after_completion
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
