// The routine that leaves the IRQL alone releases a mutex whose owner was raised.
#include "ui_driver.h"

static FAST_MUTEX Mutex;
static ULONG Requests;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Mutex); //~ NOTE: acquired
    Requests++;
    ExReleaseFastMutexUnsafe(&Mutex); //~ lock::released_in_other_form
    KeLowerIrql(PASSIVE_LEVEL);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    return UiStart(Driver, DeviceControl);
}
