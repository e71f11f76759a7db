// A request has no cancel routine, but a timer of 50 ms completes it soon.
#include "ui_driver.h"

static KTIMER Timer;
static KDPC Dpc;
static PIRP Waiting;

static VOID Complete(PKDPC This, PVOID Context, PVOID First, PVOID Second)
{
    PIRP Irp = InterlockedExchangePointer((PVOID *)&Waiting, NULL);

    UNREFERENCED_PARAMETER(This);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    if (Irp) UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due = {.QuadPart = -50 * 10000};

    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    if (InterlockedCompareExchangePointer((PVOID *)&Waiting, Irp, NULL)) {
        UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
        return STATUS_PENDING;
    }
    KeSetTimer(&Timer, Due, &Dpc);
    return STATUS_PENDING;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Complete, NULL);
    Driver->DriverUnload = Unload;
    return Status;
}
