// If the second block cannot be had, the first is forgotten.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PVOID First, Second;

    UNREFERENCED_PARAMETER(Device);
    First = ExAllocatePoolWithTag(NonPagedPoolNx, 64, UI_TAG); //~ pool::leaked_at_unload
    if (!First) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Second = ExAllocatePoolWithTag(NonPagedPoolNx, 128, UI_TAG); //~ NOTE: allocation 2 fails here
    if (!Second) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    ExFreePoolWithTag(Second, UI_TAG);
    ExFreePoolWithTag(First, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
