// The event is freed while the thread waits for it.
#include <ntddk.h>


static VOID Work(PVOID Context)
{
    KeWaitForSingleObject(Context, Executive, KernelMode, FALSE, NULL);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;
    PKEVENT Event;
    HANDLE Thread;
    PVOID Object;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -10000;
    Event = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Event), 'tseT');
    if (!Event) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeEvent(Event, NotificationEvent, FALSE);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work, Event);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(Event, 'tseT');
        return Status;
    }
    ObReferenceObjectByHandle(Thread, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, &Object, NULL);
    ZwClose(Thread);
    KeDelayExecutionThread(KernelMode, FALSE, &Due);
    ExFreePoolWithTag(Event, 'tseT'); //~ wait::object_gone
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Object);
    return STATUS_SUCCESS;
}
