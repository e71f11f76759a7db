// The status is read from the block before it is freed.
#include <ntddk.h>

typedef struct _JOB {
    LIST_ENTRY Link;
    NTSTATUS Status;
} JOB, *PJOB;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    volatile JOB *Job;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Job = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(JOB), 'tseT');
    if (!Job) return STATUS_INSUFFICIENT_RESOURCES;
    Job->Status = STATUS_SUCCESS;
    Status = Job->Status;
    ExFreePoolWithTag((PVOID)Job, 'tseT');
    return Status;
}
