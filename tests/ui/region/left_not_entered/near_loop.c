// Entered and left many times.
#include "ui_driver.h"

static LONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    for (ULONG Round = 0; Round < 20; Round++) {
        KeEnterGuardedRegion();
        if (KeAreAllApcsDisabled()) InterlockedIncrement(&Users);
        KeLeaveGuardedRegion();
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
