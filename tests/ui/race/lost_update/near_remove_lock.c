// Requests count interlocked under a remove lock; Unload reads and resets by plain instructions
// when everybody has released it.
#include "ui_driver.h"

static IO_REMOVE_LOCK RemoveLock;
static volatile LONG Requests;
static LONG Last;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = IoAcquireRemoveLock(&RemoveLock, Irp);

    UNREFERENCED_PARAMETER(Device);
    if (!NT_SUCCESS(Status)) return UiComplete(Irp, Status, 0);
    InterlockedIncrement(&Requests);
    Status = UiComplete(Irp, STATUS_SUCCESS, 0);
    IoReleaseRemoveLock(&RemoveLock, Irp);
    return Status;
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (NT_SUCCESS(IoAcquireRemoveLock(&RemoveLock, Driver))) {
        IoReleaseRemoveLockAndWait(&RemoveLock, Driver);
    }
    Last = Requests;
    Requests = 0;
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    IoInitializeRemoveLock(&RemoveLock, UI_TAG, 0, 0);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
