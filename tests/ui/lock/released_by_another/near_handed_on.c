// The mutex goes from thread to thread: each acquires and releases it.
#include <ntddk.h>

static KMUTEX Mutex;
static ULONG Turns;

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
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    Turns++;
    KeReleaseMutex(&Mutex, FALSE);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeMutex(&Mutex, 0);
    Worker(NULL);
    Run(Worker, NULL);
    Worker(NULL);
    return STATUS_SUCCESS;
}
