// Two threads take two spin locks in different orders, and meet.
#include <ntddk.h>

static KSPIN_LOCK First, Second;
static PVOID Threads[2];
static LONG Count;

static VOID Worker(PVOID Context)
{
    PKSPIN_LOCK Outer = Context ? &First : &Second;
    PKSPIN_LOCK Inner = Context ? &Second : &First;

    for (ULONG i = 0; i < 500; i++) {
        KIRQL Old;

        KeAcquireSpinLock(Outer, &Old);
        KeAcquireSpinLockAtDpcLevel(Inner); //~ lock::deadlock
        InterlockedIncrement(&Count);
        KeReleaseSpinLockFromDpcLevel(Inner);
        KeReleaseSpinLock(Outer, Old);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Join(VOID)
{
    for (ULONG i = 0; i < 2; i++) {
        if (!Threads[i]) continue;
        KeWaitForSingleObject(Threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Threads[i]);
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    Join();
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&First);
    KeInitializeSpinLock(&Second);
    Driver->DriverUnload = Unload;
    for (ULONG i = 0; i < 2; i++) {
        HANDLE Thread;
        NTSTATUS Status = PsCreateSystemThread(
            &Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Worker, i ? &First : NULL);

        if (!NT_SUCCESS(Status)) {
            Join();
            return Status;
        }
        ObReferenceObjectByHandle(Thread, THREAD_ALL_ACCESS, NULL, KernelMode, &Threads[i], NULL);
        ZwClose(Thread);
    }
    return STATUS_SUCCESS;
}
