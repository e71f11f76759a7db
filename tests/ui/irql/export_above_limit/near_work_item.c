// A DPC leaves what needs PASSIVE_LEVEL to a work item.
#include "ui_driver.h"

static PIO_WORKITEM Item;
static KEVENT Done;
static KDPC Dpc;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    LARGE_INTEGER Short;

    UNREFERENCED_PARAMETER(Context);
    Short.QuadPart = -1000;
    KeDelayExecutionThread(KernelMode, FALSE, &Short);
    DbgPrint("%p at %u\n", Device, KeGetCurrentIrql());
    KeSetEvent(&Done, IO_NO_INCREMENT, FALSE);
}

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, NULL);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, UiCreateClose);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Item = IoAllocateWorkItem(Driver->DeviceObject);
    if (!Item) return STATUS_SUCCESS;
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    IoFreeWorkItem(Item);
    return STATUS_SUCCESS;
}
