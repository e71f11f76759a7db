// The dispatch routine returns at once; a work item completes the request.
#include "ui_driver.h"

typedef struct _WORK {
    PIO_WORKITEM Item;
    PIRP Irp;
} WORK, *PWORK;

static VOID Complete(PDEVICE_OBJECT Device, PVOID Context)
{
    PWORK Work = Context;

    UNREFERENCED_PARAMETER(Device);
    UiComplete(Work->Irp, STATUS_SUCCESS, 0);
    IoFreeWorkItem(Work->Item);
    ExFreePoolWithTag(Work, UI_TAG);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PWORK Work = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Work), UI_TAG);

    if (!Work) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Work->Irp = Irp;
    Work->Item = IoAllocateWorkItem(Device);
    if (!Work->Item) {
        ExFreePoolWithTag(Work, UI_TAG);
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    IoMarkIrpPending(Irp);
    IoQueueWorkItem(Work->Item, Complete, DelayedWorkQueue, Work);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
