//@args: --budget quick
// A push lock and a mutex are taken in different orders.
#include "ui_driver.h"

static FAST_MUTEX Mutex;
static EX_PUSH_LOCK Lock;
static ULONG Count;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&Lock); //~ NOTE: acquired
    ExAcquireFastMutex(&Mutex);
    Count++;
    ExReleaseFastMutex(&Mutex);
    ExReleasePushLockShared(&Lock);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Mutex); //~ NOTE: now
    ExAcquirePushLockExclusive(&Lock); //~ lock::order_cycle
    Count++;
    ExReleasePushLockExclusive(&Lock);
    ExReleaseFastMutex(&Mutex);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    ExInitializePushLock(&Lock);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
