//@args: --budget quick
// Two routines take the same two locks in different orders.
#include "ui_driver.h"

static FAST_MUTEX Users, Files;
static ULONG Count;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Users); //~ NOTE: acquired
    ExAcquireFastMutex(&Files);
    Count++;
    ExReleaseFastMutex(&Files);
    ExReleaseFastMutex(&Users);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Files); //~ NOTE: now
    ExAcquireFastMutex(&Users); //~ lock::order_cycle
    Count++;
    ExReleaseFastMutex(&Users);
    ExReleaseFastMutex(&Files);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Users);
    ExInitializeFastMutex(&Files);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
