// The request is left to a DPC and STATUS_PENDING returned, but the IRP is not marked.
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
    if (InterlockedCompareExchangePointer((PVOID *)&Waiting, Irp, NULL)) {
        return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    }
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    return STATUS_PENDING;
} //~ irp::pending_not_marked

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
