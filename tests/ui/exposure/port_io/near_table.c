// The caller chooses one of four ports that the driver knows, by number.
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
    if (Index >= RTL_NUMBER_OF(Ports)) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Value = __inbyte(Ports[Index]);
    return UiComplete(Irp, Value ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
