// Unload deletes the device while a work item still runs for it: the item keeps device and image.
#include "ui_driver.h"

static LONG Runs;

static VOID NTAPI Work(PVOID Object, PVOID Context, PIO_WORKITEM Item)
{
    PDEVICE_OBJECT Device = Object;

    UNREFERENCED_PARAMETER(Context);
    if (Device->Type == 3) InterlockedIncrement(&Runs);
    IoFreeWorkItem(Item);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    PIO_WORKITEM Item = IoAllocateWorkItem(Driver->DeviceObject);

    if (Item) IoQueueWorkItemEx(Item, Work, DelayedWorkQueue, NULL);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    return Status;
}
