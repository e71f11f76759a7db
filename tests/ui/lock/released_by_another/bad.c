// A thread releases the mutex that another one owns.
#include <ntddk.h>

static KMUTEX Mutex;

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
    __try {
        KeReleaseMutex(&Mutex, FALSE); //~ lock::released_by_another
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        DbgPrint("not ours\n");
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeMutex(&Mutex, 0);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL); //~ NOTE: acquired
    Run(Worker, NULL);
    KeReleaseMutex(&Mutex, FALSE);
    return STATUS_SUCCESS;
}
