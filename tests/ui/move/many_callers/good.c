// A caller who finds no slot is told to come again.
#include "ui_driver.h"

#define SLOTS 2

static volatile LONG *Table;
static volatile LONG Active;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LONG Slot = InterlockedIncrement(&Active) - 1;
    LARGE_INTEGER Delay;

    UNREFERENCED_PARAMETER(Device);
    if (Slot >= SLOTS) {
        InterlockedDecrement(&Active);
        return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    }
    Delay.QuadPart = -10000;
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    InterlockedIncrement(&Table[Slot]);
    InterlockedDecrement(&Active);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExFreePoolWithTag((PVOID)Table, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, SLOTS * sizeof(LONG), UI_TAG);
    if (Table == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag((PVOID)Table, UI_TAG);
    else Driver->DriverUnload = Unload;
    return Status;
}
