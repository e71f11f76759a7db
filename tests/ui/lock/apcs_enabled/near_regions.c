// Every way to disable normal kernel APCs.
#include "ui_driver.h"

static ERESOURCE Resource;
static KGUARDED_MUTEX Mutex;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    KeEnterGuardedRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
    KeLeaveGuardedRegion();
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
    KeLowerIrql(OldIrql);
    ExEnterCriticalRegionAndAcquireResourceShared(&Resource);
    ExReleaseResourceAndLeaveCriticalRegion(&Resource);
    KeAcquireGuardedMutex(&Mutex);
    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
    KeReleaseGuardedMutex(&Mutex);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UiUnload(Driver);
    ExDeleteResourceLite(&Resource);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    KeInitializeGuardedMutex(&Mutex);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExDeleteResourceLite(&Resource);
        return Status;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
