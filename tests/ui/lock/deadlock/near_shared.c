// Two threads have one resource each, shared, and ask for the other's, shared too.
#include <ntddk.h>

static ERESOURCE Tables[2];
static PVOID Threads[2];
static volatile LONG Count;

static VOID Reader(PVOID Context)
{
    LARGE_INTEGER Moment = { .QuadPart = -10 * 1000 };
    ULONG First = Context != NULL;

    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Tables[First], TRUE);
    KeDelayExecutionThread(KernelMode, FALSE, &Moment);
    ExAcquireResourceSharedLite(&Tables[!First], TRUE);
    InterlockedIncrement(&Count);
    ExReleaseResourceLite(&Tables[!First]);
    ExReleaseResourceLite(&Tables[First]);
    KeLeaveCriticalRegion();
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    for (ULONG i = 0; i < 2; i++) {
        if (!Threads[i]) continue;
        KeWaitForSingleObject(Threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Threads[i]);
    }
    ExDeleteResourceLite(&Tables[0]);
    ExDeleteResourceLite(&Tables[1]);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Tables[0]);
    ExInitializeResourceLite(&Tables[1]);
    Driver->DriverUnload = Unload;
    for (ULONG i = 0; i < 2; i++) {
        HANDLE Thread;
        NTSTATUS Status = PsCreateSystemThread(
            &Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Reader, i ? &Tables[1] : NULL);

        if (!NT_SUCCESS(Status)) {
            Unload(Driver);
            return Status;
        }
        ObReferenceObjectByHandle(Thread, THREAD_ALL_ACCESS, NULL, KernelMode, &Threads[i], NULL);
        ZwClose(Thread);
    }
    return STATUS_SUCCESS;
}
