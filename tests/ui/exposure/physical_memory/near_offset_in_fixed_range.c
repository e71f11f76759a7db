// The caller chooses a register inside the one page that the driver maps.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PHYSICAL_ADDRESS Address = {.QuadPart = 0xFED00000};
    volatile ULONG *Mapping;
    volatile ULONG Value;
    ULONG Offset;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Offset = *(PULONG)Irp->AssociatedIrp.SystemBuffer;
    if (Offset >= PAGE_SIZE / sizeof(ULONG)) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Mapping = MmMapIoSpace(Address, PAGE_SIZE, MmNonCached);
    if (!Mapping) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Value = Mapping[Offset];
    MmUnmapIoSpace((PVOID)Mapping, PAGE_SIZE);
    return UiComplete(Irp, Value ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
