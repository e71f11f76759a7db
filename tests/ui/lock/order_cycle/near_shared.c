// All access is shared: nobody blocks anybody.
#include "ui_driver.h"

static EX_PUSH_LOCK First, Second;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&First);
    ExAcquirePushLockShared(&Second);
    ExReleasePushLockShared(&Second);
    ExReleasePushLockShared(&First);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&Second);
    ExAcquirePushLockShared(&First);
    ExReleasePushLockShared(&First);
    ExReleasePushLockShared(&Second);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializePushLock(&First);
    ExInitializePushLock(&Second);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
