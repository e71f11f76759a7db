//@depth: 1
//@expect: memory::null_dereference
//@bug: The work item is queued before the field is set through which it answers.
/* Computes a checksum in a work item, because some callers come with little stack. */
#include "ui_driver.h"

typedef struct _JOB {
    PIO_WORKITEM Item;
    ULONG Sum;
    PKEVENT Done;
} JOB;

/* How many jobs there are, for who looks with a debugger. */
static KSPIN_LOCK Lock;
static ULONG Jobs;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    JOB *Job = Context;
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
    for (i = 0; i < 16; i++) Job->Sum = Job->Sum * 31 + i;
    KeSetEvent(Job->Done, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS Compute(PDEVICE_OBJECT Device)
{
    JOB *Job = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(JOB), UI_TAG);
    KEVENT Done;
    KIRQL OldIrql;

    if (Job == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Job->Item = IoAllocateWorkItem(Device);
    if (Job->Item == NULL) {
        ExFreePoolWithTag(Job, UI_TAG);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Jobs++;
    IoQueueWorkItem(Job->Item, Work, DelayedWorkQueue, Job);
    Job->Done = &Done;
    KeReleaseSpinLock(&Lock, OldIrql);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Jobs--;
    KeReleaseSpinLock(&Lock, OldIrql);
    IoFreeWorkItem(Job->Item);
    ExFreePoolWithTag(Job, UI_TAG);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Compute(Device), 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
