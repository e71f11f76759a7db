// Two requests at once may both find the block before either of them clears the pointer.
#include "ui_driver.h"

static PVOID volatile Block;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PVOID Old;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Old = Block;
    if (Old == NULL) return UiComplete(Irp, STATUS_NOT_FOUND, 0);
    Block = NULL; //~ NOTE: is interrupted here
    ExFreePoolWithTag(Old, UI_TAG); //~ pool::double_free
    //~^ NOTE: freed here
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Block != NULL) ExFreePoolWithTag(Block, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, UI_TAG);
    Status = UiStart(Driver, DeviceControl);
    if (NT_SUCCESS(Status)) {
        Driver->DriverUnload = Unload;
    } else if (Block != NULL) {
        ExFreePoolWithTag(Block, UI_TAG);
    }
    return Status;
}
