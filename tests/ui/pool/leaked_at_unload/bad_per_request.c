// Each request allocates a block; refused ones do not free it.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PVOID Scratch;

    UNREFERENCED_PARAMETER(Device);
    Scratch = ExAllocatePoolWithTag(PagedPool, 100, UI_TAG); //~ pool::leaked_at_unload
    if (!Scratch) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    ExFreePoolWithTag(Scratch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
