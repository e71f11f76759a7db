// After the completion the driver prints the address of the IRP; it does not follow it.
#include "ui_driver.h"

static PIRP Last;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    UiComplete(Irp, STATUS_NOT_SUPPORTED, 0);
    if (Irp == Last) DbgPrint("the same address again\n");
    Last = Irp;
    DbgPrint("completed %p\n", (PVOID)Irp);
    return STATUS_NOT_SUPPORTED;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
