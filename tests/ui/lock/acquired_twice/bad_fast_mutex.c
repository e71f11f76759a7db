// The fast mutex is acquired twice.
#include "ui_driver.h"

static FAST_MUTEX Mutex;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Mutex); //~ NOTE: acquired
    ExAcquireFastMutex(&Mutex); //~ lock::acquired_twice
    ExReleaseFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    return UiStart(Driver, DeviceControl);
}
