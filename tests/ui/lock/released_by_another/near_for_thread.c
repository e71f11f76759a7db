// A thread releases the resource on behalf of the one that acquired it.
#include <ntddk.h>

static ERESOURCE Resource;

static VOID Run(PKSTART_ROUTINE Routine, PVOID Context)
{
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Handle;
    PVOID Thread;

    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!NT_SUCCESS(PsCreateSystemThread(
            &Handle, THREAD_ALL_ACCESS, &Attributes, NULL, NULL, Routine, Context))) {
        return;
    }
    if (NT_SUCCESS(ObReferenceObjectByHandle(
            Handle, SYNCHRONIZE, *PsThreadType, KernelMode, &Thread, NULL))) {
        KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Thread);
    }
    ZwClose(Handle);
}

static VOID Worker(PVOID Context)
{
    ExReleaseResourceForThreadLite(&Resource, (ERESOURCE_THREAD)Context);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    Run(Worker, (PVOID)ExGetCurrentResourceThread());
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
    return STATUS_SUCCESS;
}
