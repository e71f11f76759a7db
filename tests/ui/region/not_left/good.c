// Every path leaves the critical region.
#include "ui_driver.h"

static LONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    if (InterlockedIncrement(&Users) == 1) {
        KeLeaveCriticalRegion();
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
