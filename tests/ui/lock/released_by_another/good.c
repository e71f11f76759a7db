// What one thread takes and another one gives is a semaphore: it has no owner.
#include <ntddk.h>

static KSEMAPHORE Semaphore;

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
    UNREFERENCED_PARAMETER(Context);
    KeReleaseSemaphore(&Semaphore, 0, 1, FALSE);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSemaphore(&Semaphore, 1, 1);
    KeWaitForSingleObject(&Semaphore, Executive, KernelMode, FALSE, NULL);
    Run(Worker, NULL);
    return STATUS_SUCCESS;
}
