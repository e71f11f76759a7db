// The block is handed to a work item, which frees it; Unload waits for that.
#include "ui_driver.h"

typedef struct _JOB {
    PIO_WORKITEM Item;
    ULONG Number;
} JOB, *PJOB;

static KEVENT Done;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    PJOB Job = Context;

    DbgPrint("job %u of %p\n", Job->Number, Device);
    IoFreeWorkItem(Job->Item);
    ExFreePoolWithTag(Job, UI_TAG);
    KeSetEvent(&Done, IO_NO_INCREMENT, FALSE);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, UiCreateClose);
    PJOB Job;

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    KeInitializeEvent(&Done, NotificationEvent, TRUE);
    Job = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Job), UI_TAG);
    if (!Job) return STATUS_SUCCESS;
    Job->Number = 1;
    Job->Item = IoAllocateWorkItem(Driver->DeviceObject);
    if (Job->Item) {
        KeClearEvent(&Done);
        IoQueueWorkItem(Job->Item, Work, DelayedWorkQueue, Job);
    } else {
        ExFreePoolWithTag(Job, UI_TAG);
    }
    return STATUS_SUCCESS;
}
