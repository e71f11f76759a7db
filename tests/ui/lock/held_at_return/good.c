// Every path releases the spin lock.
#include <ntddk.h>

static KDPC Dpc;
static KSPIN_LOCK Lock;
static ULONG Waiting;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    if (Waiting > 0) Waiting--;
    KeReleaseSpinLockFromDpcLevel(&Lock);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
    return STATUS_SUCCESS;
}
