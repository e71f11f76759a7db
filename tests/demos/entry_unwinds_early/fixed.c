/* Averages a load figure from a timer, and keeps a work item at hand to report it. */
#include "ui_driver.h"

#define PERIOD_MS 1

typedef struct _LOAD {
    KTIMER Timer;
    KDPC Dpc;
    volatile LONG64 Ticks;
    volatile LONG64 Figures[8];
} LOAD;

static LOAD *Load;
static PIO_WORKITEM Item;

static VOID OnTimer(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    LOAD *Self = Context;
    ULONG i;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    for (i = 0; i < 8; i++) InterlockedExchangeAdd64(&Self->Figures[i], i);
    InterlockedIncrement64(&Self->Ticks);
}

static NTSTATUS Serve(VOID)
{
    return Load->Ticks >= 0 ? STATUS_SUCCESS : STATUS_DATA_ERROR;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Serve(), 0);
}

static VOID FreeLoad(VOID)
{
    KeCancelTimer(&Load->Timer);
    KeFlushQueuedDpcs();
    ExFreePoolWithTag(Load, UI_TAG);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    FreeLoad();
    IoFreeWorkItem(Item);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Load = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(LOAD), UI_TAG);
    if (Load == NULL) {
        UiUnload(Driver);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeTimer(&Load->Timer);
    KeInitializeDpc(&Load->Dpc, OnTimer, Load);
    Due.QuadPart = -1;
    KeSetTimerEx(&Load->Timer, Due, PERIOD_MS, &Load->Dpc);
    Item = IoAllocateWorkItem(Driver->DeviceObject);
    if (Item == NULL) {
        FreeLoad();
        UiUnload(Driver);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}
