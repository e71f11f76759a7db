// A request waits without a cancel routine until the caller closes its handle.
#include "ui_driver.h"

static PIRP Waiting;

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Old = InterlockedExchangePointer((PVOID *)&Waiting, NULL);

    UNREFERENCED_PARAMETER(Device);
    if (Old) UiComplete(Old, STATUS_CANCELLED, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Old;

    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    Old = InterlockedExchangePointer((PVOID *)&Waiting, Irp);
    if (Old) UiComplete(Old, STATUS_SUCCESS, 0);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
