// DriverEntry gives up, and cleans up, if it gets no table; or does without the second one.
#include "ui_driver.h"

static PULONG Table, Extra;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (Extra) InterlockedIncrement((volatile LONG *)&Extra[0]);
    return UiComplete(Irp, Table[3] == 3 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExFreePoolWithTag(Table, UI_TAG);
    if (Extra) ExFreePoolWithTag(Extra, UI_TAG);
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
    Table = ExAllocatePoolWithTag(NonPagedPoolNx, 4 * sizeof(ULONG), UI_TAG);
    if (!Table) {
        UiUnload(Driver);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    for (i = 0; i < 4; i++) Table[i] = i;
    Extra = ExAllocatePoolZero(NonPagedPoolNx, sizeof(ULONG), UI_TAG);
    return STATUS_SUCCESS;
}
