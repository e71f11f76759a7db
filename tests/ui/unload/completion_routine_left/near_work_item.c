// The work item keeps the driver until the completion routine has returned.
#include <ntddk.h>

static PDEVICE_OBJECT Device;
static PIRP Request;
static KEVENT Done;
static PIO_WORKITEM Item;
static volatile LONG Finished;

static NTSTATUS Completed(PDEVICE_OBJECT Owner, PIRP Irp, PVOID Context)
{
    LARGE_INTEGER Moment = { .QuadPart = -10 * 1000 };

    UNREFERENCED_PARAMETER(Owner);
    UNREFERENCED_PARAMETER(Context);
    IoFreeIrp(Irp);
    KeSetEvent(&Done, IO_NO_INCREMENT, FALSE);
    KeDelayExecutionThread(KernelMode, FALSE, &Moment);
    Finished = 1;
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static VOID Work(PDEVICE_OBJECT Owner, PVOID Context)
{
    UNREFERENCED_PARAMETER(Owner);
    UNREFERENCED_PARAMETER(Context);
    Request->IoStatus.Status = STATUS_SUCCESS;
    Request->IoStatus.Information = 0;
    IoCompleteRequest(Request, IO_NO_INCREMENT);
}

static NTSTATUS Write(PDEVICE_OBJECT Target, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Target);
    IoMarkIrpPending(Irp);
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, NULL);
    return STATUS_PENDING;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    IoFreeWorkItem(Item);
    IoDeleteDevice(Device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Item = IoAllocateWorkItem(Device);
    Request = IoAllocateIrp(Device->StackSize, FALSE);
    if (!Request || !Item) {
        if (Request) IoFreeIrp(Request);
        if (Item) IoFreeWorkItem(Item);
        IoDeleteDevice(Device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    IoGetNextIrpStackLocation(Request)->MajorFunction = IRP_MJ_WRITE;
    IoSetCompletionRoutine(Request, Completed, NULL, TRUE, TRUE, TRUE);
    Driver->DriverUnload = Unload;
    IoCallDriver(Device, Request);
    return STATUS_SUCCESS;
}
