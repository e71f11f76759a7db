// The caller chooses one of two registers that the driver knows, by number.
#include "ui_driver.h"

static const ULONG Registers[] = {0x10, 0x1B};

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Index;
    volatile ULONG64 Value;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Index = *(PULONG)Irp->AssociatedIrp.SystemBuffer;
    if (Index >= RTL_NUMBER_OF(Registers)) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Value = __readmsr(Registers[Index]);
    return UiComplete(Irp, Value ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
