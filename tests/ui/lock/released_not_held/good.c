// Each path releases the resource once.
#include "ui_driver.h"

static ERESOURCE Resource;
static ULONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    BOOLEAN IsFirst;

    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    IsFirst = Users++ == 0;
    ExReleaseResourceLite(&Resource);
    if (IsFirst) DbgPrint("first\n");
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

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
