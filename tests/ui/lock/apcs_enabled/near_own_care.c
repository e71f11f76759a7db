// These locks disable APCs themselves.
#include "ui_driver.h"

static FAST_MUTEX Mutex;
static KGUARDED_MUTEX Guarded;
static KMUTEX Kernel;
static ULONG Users[3];

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Mutex);
    Users[0]++;
    ExReleaseFastMutex(&Mutex);
    KeAcquireGuardedMutex(&Guarded);
    Users[1]++;
    KeReleaseGuardedMutex(&Guarded);
    KeWaitForSingleObject(&Kernel, Executive, KernelMode, FALSE, NULL);
    Users[2]++;
    KeReleaseMutex(&Kernel, FALSE);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Mutex);
    KeInitializeGuardedMutex(&Guarded);
    KeInitializeMutex(&Kernel, 0);
    return UiStart(Driver, DeviceControl);
}
