// The guarded region is entered twice and left once.
#include "ui_driver.h"

static LONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterGuardedRegion();
    KeEnterGuardedRegion();
    InterlockedIncrement(&Users);
    KeLeaveGuardedRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0); //~ region::not_left
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
