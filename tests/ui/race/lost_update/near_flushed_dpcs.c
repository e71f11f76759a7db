// The request touches what its DPC touched, when KeFlushQueuedDpcs has returned; a mutex keeps
// other requests away.
#include "ui_driver.h"

static KDPC Dpc;
static FAST_MUTEX Lock;
static LONG Count;

static VOID Counted(PKDPC Self, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Self);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Count++;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Lock);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
    Count += 2;
    ExReleaseFastMutexUnsafe(&Lock);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeDpc(&Dpc, Counted, NULL);
    ExInitializeFastMutex(&Lock);
    return UiStart(Driver, DeviceControl);
}
