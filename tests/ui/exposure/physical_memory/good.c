// The driver maps one fixed physical address.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PHYSICAL_ADDRESS Address;
    PVOID Mapping;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(LONG64)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Address.QuadPart = 0xFED00000;
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
