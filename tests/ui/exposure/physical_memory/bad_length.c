// The caller chooses how much of the physical memory behind a fixed address is mapped.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PHYSICAL_ADDRESS Address = {.QuadPart = 0x1000};
    PVOID Mapping;
    ULONG Length;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Length = *(PULONG)Irp->AssociatedIrp.SystemBuffer;
    if (!Length) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Mapping = MmMapIoSpace(Address, Length, MmNonCached); //~ exposure::physical_memory
    if (!Mapping) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    MmUnmapIoSpace(Mapping, Length);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
