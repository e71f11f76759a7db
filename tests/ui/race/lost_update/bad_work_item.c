// A work item and the timer DPC that queued it count the same thing by plain instructions.
#include "ui_driver.h"

static KTIMER Timer;
static KDPC Dpc;
static PIO_WORKITEM Item;
static volatile LONG Events;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    Events += 3; //~ race::lost_update
}

static VOID Expired(PKDPC Self, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Self);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Events += 5; //~ NOTE: meanwhile
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due = { .QuadPart = -10 * 1000 };

    UNREFERENCED_PARAMETER(Device);
    if (!KeSetTimer(&Timer, Due, &Dpc)) IoQueueWorkItem(Item, Work, DelayedWorkQueue, NULL);
    KeFlushQueuedDpcs();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    IoFreeWorkItem(Item);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Item = IoAllocateWorkItem(Driver->DeviceObject);
    if (!Item) {
        UiUnload(Driver);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Expired, NULL);
    return STATUS_SUCCESS;
}
