// The caller chooses one of two ranges that the driver knows, by number.
#include "ui_driver.h"

static const ULONG Ranges[] = {0xFED00000, 0xFEE00000};

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PHYSICAL_ADDRESS Address;
    ULONG Index;
    PVOID Mapping;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Index = *(PULONG)Irp->AssociatedIrp.SystemBuffer;
    if (Index >= RTL_NUMBER_OF(Ranges)) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Address.QuadPart = Ranges[Index];
    Mapping = MmMapIoSpace(Address, PAGE_SIZE, MmNonCached);
    if (!Mapping) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    MmUnmapIoSpace(Mapping, PAGE_SIZE);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
