// A semaphore lets no more than two in, so that there is always a slot of two.
#include "ui_driver.h"

#define SLOTS 2

static volatile LONG *Table;
static volatile LONG Active;
static KSEMAPHORE Free;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Delay;
    LONG Slot;

    UNREFERENCED_PARAMETER(Device);
    KeWaitForSingleObject(&Free, Executive, KernelMode, FALSE, NULL);
    Slot = InterlockedIncrement(&Active) - 1;
    Delay.QuadPart = -10000;
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    InterlockedIncrement(&Table[Slot]);
    InterlockedDecrement(&Active);
    KeReleaseSemaphore(&Free, IO_NO_INCREMENT, 1, FALSE);
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
    KeInitializeSemaphore(&Free, SLOTS, SLOTS);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag((PVOID)Table, UI_TAG);
    else Driver->DriverUnload = Unload;
    return Status;
}
