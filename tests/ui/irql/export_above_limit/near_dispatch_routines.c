// A DPC does what DPCs do: debug output, timers, lists, memory, spin locks of its own level.
#include <ntddk.h>

static KDPC Dpc;
static KTIMER Timer;
static KEVENT Done;
static KSPIN_LOCK Lock;
static LIST_ENTRY Head;
static LIST_ENTRY Entry;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    LARGE_INTEGER Time;
    UCHAR Bytes[32];
    PMDL Mdl;

    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    DbgPrint("%s at IRQL %u\n", "deferred", KeGetCurrentIrql());
    KeQuerySystemTime(&Time);
    RtlZeroMemory(Bytes, sizeof(Bytes));
    ExInterlockedInsertTailList(&Head, &Entry, &Lock);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    RemoveEntryList(&Entry);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    Mdl = IoAllocateMdl(Bytes, sizeof(Bytes), FALSE, FALSE, NULL);
    if (Mdl) IoFreeMdl(Mdl);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    InitializeListHead(&Head);
    KeInitializeSpinLock(&Lock);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, Deferred, &Done);
    KeInitializeTimer(&Timer);
    Due.QuadPart = -100000;
    KeSetTimer(&Timer, Due, &Dpc);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    return STATUS_SUCCESS;
}
