// The work item that runs at unload forgets its context.
#include <ntddk.h>

typedef struct _JOB {
    PIO_WORKITEM Item;
    ULONG Rounds;
} JOB, *PJOB;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    PJOB Job = Context;

    UNREFERENCED_PARAMETER(Device);
    IoFreeWorkItem(Job->Item);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    PJOB Job = ExAllocatePoolWithTag(NonPagedPool, sizeof(JOB), 'tseT'); //~ pool::leaked_at_unload

    if (Job) {
        Job->Rounds = 1;
        Job->Item = IoAllocateWorkItem(Driver->DeviceObject);
        if (Job->Item) {
            IoQueueWorkItem(Job->Item, Work, DelayedWorkQueue, Job);
        } else {
            ExFreePoolWithTag(Job, 'tseT');
        }
    }
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    return IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
}
