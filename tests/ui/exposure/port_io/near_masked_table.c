// The caller's number is cut to the size of the table of ports instead of being refused.
#include "ui_driver.h"

static const USHORT Ports[] = {0x3F8, 0x2F8, 0x3E8, 0x2E8};

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Index;
    volatile UCHAR Value;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Index = *(PULONG)Irp->AssociatedIrp.SystemBuffer;
    Value = __inbyte(Ports[Index & 3]);
    return UiComplete(Irp, Value ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
