// A thread releases the guarded mutex that another one owns.
#include <ntddk.h>

static KGUARDED_MUTEX Mutex;

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
    KeEnterGuardedRegion();
    KeReleaseGuardedMutexUnsafe(&Mutex); //~ lock::released_by_another
    KeLeaveGuardedRegion();
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeGuardedMutex(&Mutex);
    KeEnterGuardedRegion();
    KeAcquireGuardedMutexUnsafe(&Mutex); //~ NOTE: acquired
    Run(Worker, NULL);
    KeReleaseGuardedMutexUnsafe(&Mutex);
    KeLeaveGuardedRegion();
    return STATUS_SUCCESS;
}
