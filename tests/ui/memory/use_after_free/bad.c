// The status is read from the block after it was freed.
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

    Job = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(JOB), 'tseT'); //~ NOTE: allocated
    if (!Job) return STATUS_INSUFFICIENT_RESOURCES;
    Job->Status = STATUS_SUCCESS;
    ExFreePoolWithTag((PVOID)Job, 'tseT'); //~ NOTE: freed
    Status = Job->Status; //~ memory::use_after_free
    return Status;
}
