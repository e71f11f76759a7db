// The resource stays with the device: nobody but an owner pointer has it.
#include "ui_driver.h"

static ERESOURCE Resource;
static LONG IsOwned;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    if (ExAcquireResourceExclusiveLite(&Resource, FALSE)) {
        ExSetResourceOwnerPointer(&Resource, (PVOID)((ULONG_PTR)&IsOwned | 3));
        InterlockedExchange(&IsOwned, 1);
    } else if (InterlockedExchange(&IsOwned, 0)) {
        ExReleaseResourceForThreadLite(&Resource, (ERESOURCE_THREAD)((ULONG_PTR)&IsOwned | 3));
    }
    KeLeaveCriticalRegion();
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
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExDeleteResourceLite(&Resource);
        return Status;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
