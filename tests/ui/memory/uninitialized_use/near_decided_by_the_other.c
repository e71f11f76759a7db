// Both conditions are computed, the undefined one too, and the defined one decides.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PULONG Block = ExAllocatePoolWithTag(NonPagedPoolNx, 8, UI_TAG);
    volatile BOOLEAN IsLarge;
    BOOLEAN Result;

    UNREFERENCED_PARAMETER(Device);
    if (!Block) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Block[0] = 0;
    // As a compiler does that tests the second condition first because that cannot hurt.
    IsLarge = FALSE;
    if (*(volatile ULONG *)&Block[1] > 100) IsLarge = TRUE;
    Result = Block[0] != 0 && IsLarge;
    ExFreePoolWithTag(Block, UI_TAG);
    return UiComplete(Irp, Result ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
