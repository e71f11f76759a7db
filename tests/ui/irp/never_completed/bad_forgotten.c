// The request is marked pending and kept, but nothing ever completes it.
#include "ui_driver.h"

static PIRP Kept;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    InterlockedExchangePointer((PVOID *)&Kept, Irp);
    return STATUS_PENDING; //~ irp::never_completed
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
