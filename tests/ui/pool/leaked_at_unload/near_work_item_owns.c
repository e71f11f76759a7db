// A work item is queued at unload; it keeps the device, and frees its context when it is done.
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
    ExFreePoolWithTag(Job, 'tseT');
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    PJOB Job = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(JOB), 'tseT');

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
