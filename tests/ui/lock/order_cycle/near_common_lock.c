// One more lock is always taken first, so that the two never meet.
#include "ui_driver.h"

static FAST_MUTEX All, Users, Files;
static ULONG Count;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&All);
    ExAcquireFastMutex(&Users);
    ExAcquireFastMutex(&Files);
    Count++;
    ExReleaseFastMutex(&Files);
    ExReleaseFastMutex(&Users);
    ExReleaseFastMutex(&All);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&All);
    ExAcquireFastMutex(&Files);
    ExAcquireFastMutex(&Users);
    Count++;
    ExReleaseFastMutex(&Users);
    ExReleaseFastMutex(&Files);
    ExReleaseFastMutex(&All);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&All);
    ExInitializeFastMutex(&Users);
    ExInitializeFastMutex(&Files);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
