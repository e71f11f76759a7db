// DriverEntry fills a table without a look at whether it got one.
#include "ui_driver.h"

static PULONG Table;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, Table[3] == 3 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExFreePoolWithTag(Table, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Table = ExAllocatePoolWithTag(NonPagedPoolNx, 4 * sizeof(ULONG), UI_TAG); //~ NOTE: fails here
    for (i = 0; i < 4; i++) Table[i] = i; //~ memory::null_dereference
    return STATUS_SUCCESS;
}
