// The request is marked pending before it is left to a DPC.
#include "ui_driver.h"

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
    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    if (InterlockedCompareExchangePointer((PVOID *)&Waiting, Irp, NULL)) {
        UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
        return STATUS_PENDING;
    }
    KeInsertQueueDpc(&Dpc, NULL, NULL);
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
    KeInitializeDpc(&Dpc, Complete, NULL);
    Driver->DriverUnload = Unload;
    return Status;
}
