// Critical and guarded regions nest, with a mutex between.
#include "ui_driver.h"

static LONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    KeEnterGuardedRegion();
    KeEnterCriticalRegion();
    InterlockedIncrement(&Users);
    KeLeaveCriticalRegion();
    KeLeaveGuardedRegion();
    if (KeAreApcsDisabled()) InterlockedIncrement(&Users);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
