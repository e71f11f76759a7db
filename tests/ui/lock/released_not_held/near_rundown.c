// Protection is taken in one routine and given back in another one.
#include "ui_driver.h"

static EX_RUNDOWN_REF Rundown;

static VOID Later(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    IoFreeWorkItem((PIO_WORKITEM)Context);
    ExReleaseRundownProtection(&Rundown);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_WORKITEM Work;

    UNREFERENCED_PARAMETER(Device);
    if (!ExAcquireRundownProtection(&Rundown)) {
        return UiComplete(Irp, STATUS_DELETE_PENDING, 0);
    }
    Work = IoAllocateWorkItem(Device);
    if (Work == NULL) {
        ExReleaseRundownProtection(&Rundown);
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    IoQueueWorkItem(Work, Later, DelayedWorkQueue, Work);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeRundownProtection(&Rundown);
    return UiStart(Driver, DeviceControl);
}
