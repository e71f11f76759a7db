// A push lock leaves APCs to its caller.
#include "ui_driver.h"

static EX_PUSH_LOCK Lock;
static ULONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquirePushLockExclusive(&Lock); //~ lock::apcs_enabled
    Users++;
    ExReleasePushLockExclusive(&Lock);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializePushLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
