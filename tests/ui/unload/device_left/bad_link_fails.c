// If the link cannot be made, DriverEntry fails and forgets its device.
//@needs: creation_failure name_taken
#include "ui_driver.h"

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    Driver->MajorFunction[IRP_MJ_CREATE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = UiCreateClose;
    Status = IoCreateDevice( //~ unload::device_left
        Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    return IoCreateSymbolicLink(&Link, &Name); //~ NOTE: creation 2 fails here
}
