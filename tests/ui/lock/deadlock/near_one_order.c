// Reads and writes take the two locks in one order; the second is taken by one of them alone too.
#include "ui_driver.h"

static ERESOURCE Table;
static FAST_MUTEX Log;
static ULONG Count;

static VOID Note(VOID)
{
    ExAcquireFastMutex(&Log);
    Count++;
    ExReleaseFastMutex(&Log);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Table, TRUE);
    Note();
    ExReleaseResourceLite(&Table);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Note();
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Table, TRUE);
    Note();
    ExReleaseResourceLite(&Table);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExDeleteResourceLite(&Table);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Log);
    ExInitializeResourceLite(&Table);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExDeleteResourceLite(&Table);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
