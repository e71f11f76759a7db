//@depth: 1
//@expect: unload::link_left
//@bug: When the third object of the start cannot be had, the link made second stays behind.
/* Starts with a device, a link and a work item; requests have the work item count. */
#include "ui_driver.h"

static PIO_WORKITEM Item;
static KEVENT Idle;
static volatile LONG IsQueued;
static volatile LONG Count;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    InterlockedIncrement(&Count);
    /* In this order: from the exchange on a request may clear the event again. */
    KeSetEvent(&Idle, IO_NO_INCREMENT, FALSE);
    InterlockedExchange(&IsQueued, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (InterlockedCompareExchange(&IsQueued, 1, 0) == 0) {
        KeClearEvent(&Idle);
        IoQueueWorkItem(Item, Work, DelayedWorkQueue, NULL);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeWaitForSingleObject(&Idle, Executive, KernelMode, FALSE, NULL);
    IoFreeWorkItem(Item);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Idle, NotificationEvent, TRUE);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Item = IoAllocateWorkItem(Driver->DeviceObject);
    if (Item == NULL) {
        IoDeleteDevice(Driver->DeviceObject);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}
