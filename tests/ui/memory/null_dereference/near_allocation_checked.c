// The driver asks whether it got a block before it fills it.
#include "ui_driver.h"

static PVOID Block;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PUCHAR Scratch;

    UNREFERENCED_PARAMETER(Device);
    Scratch = ExAllocatePoolWithTag(NonPagedPoolNx, 64, UI_TAG);
    if (!Scratch) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Scratch[0] = 1;
    Block = Scratch;
    ExFreePoolWithTag(Scratch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
