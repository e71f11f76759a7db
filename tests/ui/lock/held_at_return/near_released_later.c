// The work item releases the resource for the thread that acquired it, with the request.
#include "ui_driver.h"

static ERESOURCE Resource;

static VOID Later(PDEVICE_OBJECT Device, PVOID Context)
{
    PIRP Irp = (PIRP)Context;
    PVOID *Kept = Irp->Tail.Overlay.DriverContext;

    UNREFERENCED_PARAMETER(Device);
    IoFreeWorkItem((PIO_WORKITEM)Kept[1]);
    ExReleaseResourceForThreadLite(&Resource, (ERESOURCE_THREAD)Kept[0]);
    UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_WORKITEM Work;

    UNREFERENCED_PARAMETER(Device);
    Work = IoAllocateWorkItem(Device);
    if (Work == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    KeLeaveCriticalRegion();
    IoMarkIrpPending(Irp);
    Irp->Tail.Overlay.DriverContext[0] = (PVOID)ExGetCurrentResourceThread();
    Irp->Tail.Overlay.DriverContext[1] = Work;
    IoQueueWorkItem(Work, Later, DelayedWorkQueue, Irp);
    return STATUS_PENDING;
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
