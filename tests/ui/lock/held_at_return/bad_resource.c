// The dispatch routine leaves the critical region with the resource.
#include "ui_driver.h"

static ERESOURCE Resource;
static LONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    if (!ExAcquireResourceExclusiveLite(&Resource, FALSE)) { //~ NOTE: acquired
        KeLeaveCriticalRegion();
        return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    }
    if (InterlockedIncrement(&Users) > 1) ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
} //~ lock::held_at_return

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UiUnload(Driver);
    ExDeleteResourceLite(&Resource);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExDeleteResourceLite(&Resource);
        return Status;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
