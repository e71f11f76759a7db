// The unsafe form of a guarded mutex leaves APCs to its caller; a critical region is not enough.
#include "ui_driver.h"

static KGUARDED_MUTEX Mutex;
static ULONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    KeAcquireGuardedMutexUnsafe(&Mutex); //~ lock::apcs_enabled
    Users++;
    KeReleaseGuardedMutexUnsafe(&Mutex);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeGuardedMutex(&Mutex);
    return UiStart(Driver, DeviceControl);
}
