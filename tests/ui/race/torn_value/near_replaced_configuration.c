/* A configuration that is replaced while others read it: rundown protection on the old one, a
   sequence count on a pair of times, per-processor counters, and a buffer made once. */
#include "ui_driver.h"

#define CODE(n) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8C0 + (n), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define MAX_PROCESSORS 64

typedef struct _CONFIG {
    ULONG Generation;
    ULONG Limit;
    ULONG CheckSum;
} CONFIG, *PCONFIG;

typedef struct DECLSPEC_CACHEALIGN _COUNTER {
    ULONG64 Calls;
} COUNTER;

static EX_RUNDOWN_REF Rundown;
static PCONFIG Config;
static FAST_MUTEX WriterMutex;
static ULONG Generation;

static volatile LONG Sequence; /* odd while the pair is written */
static volatile ULONG64 PairLow, PairHigh;
static KSPIN_LOCK PairLock;

static COUNTER Counters[MAX_PROCESSORS];
static PVOID volatile Scratch;
static BOOLEAN Verbose; /* set once, in DriverEntry */

static VOID CountCall(VOID)
{
    KIRQL OldIrql;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql); /* no other thread of this processor in between */
    Counters[KeGetCurrentProcessorNumberEx(NULL) % MAX_PROCESSORS].Calls++;
    KeLowerIrql(OldIrql);
}

static ULONG64 SumCalls(VOID)
{
    ULONG64 Sum = 0;
    ULONG i;

    for (i = 0; i < MAX_PROCESSORS; i++) Sum += *(volatile ULONG64 *)&Counters[i].Calls;
    return Sum;
}

static NTSTATUS ReadConfig(PULONG Limit)
{
    PCONFIG Current;

    if (!ExAcquireRundownProtection(&Rundown)) return STATUS_DEVICE_BUSY;
    Current = Config;
    *Limit = Current->Limit;
    if (Current->CheckSum != (Current->Limit ^ Current->Generation)) KeBugCheck(0xDEAD);
    ExReleaseRundownProtection(&Rundown);
    return STATUS_SUCCESS;
}

static NTSTATUS ReplaceConfig(ULONG Limit)
{
    PCONFIG Fresh = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Fresh), UI_TAG);
    PCONFIG Old;

    if (Fresh == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Fresh->Limit = Limit;
    ExAcquireFastMutex(&WriterMutex);
    Fresh->Generation = ++Generation;
    Fresh->CheckSum = Fresh->Limit ^ Fresh->Generation;
    ExWaitForRundownProtectionRelease(&Rundown);
    Old = Config;
    Config = Fresh;
    ExReInitializeRundownProtection(&Rundown);
    ExReleaseFastMutex(&WriterMutex);
    ExFreePoolWithTag(Old, UI_TAG);
    return STATUS_SUCCESS;
}

static VOID WritePair(ULONG64 Value)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&PairLock, &OldIrql);
    InterlockedIncrement(&Sequence);
    PairLow = Value;
    PairHigh = ~Value;
    InterlockedIncrement(&Sequence);
    KeReleaseSpinLock(&PairLock, OldIrql);
}

static BOOLEAN ReadPair(PULONG64 Low)
{
    ULONG64 High;
    LONG Before;

    do {
        while ((Before = ReadAcquire(&Sequence)) & 1) YieldProcessor();
        *Low = PairLow;
        High = PairHigh;
        KeMemoryBarrier();
    } while (ReadNoFence(&Sequence) != Before);
    return High == ~*Low;
}

/* Whoever comes first makes the buffer; the slower ones drop theirs. */
static PVOID GetScratch(VOID)
{
    PVOID Existing = ReadPointerAcquire(&Scratch);
    PVOID Fresh;

    if (Existing != NULL) return Existing;
    Fresh = ExAllocatePool2(POOL_FLAG_NON_PAGED, 128, UI_TAG);
    if (Fresh == NULL) return NULL;
    Existing = InterlockedCompareExchangePointer(&Scratch, Fresh, NULL);
    if (Existing == NULL) return Fresh;
    ExFreePoolWithTag(Fresh, UI_TAG);
    return Existing;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PULONG Buffer = Irp->AssociatedIrp.SystemBuffer;
    ULONG In = Stack->Parameters.DeviceIoControl.InputBufferLength;
    ULONG Out = Stack->Parameters.DeviceIoControl.OutputBufferLength;
    NTSTATUS Status = STATUS_INVALID_PARAMETER;
    ULONG_PTR Information = 0;
    ULONG64 Wide;

    UNREFERENCED_PARAMETER(Device);
    CountCall();
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case CODE(0):
        if (Out < sizeof(ULONG)) break;
        Status = ReadConfig(Buffer);
        if (NT_SUCCESS(Status)) Information = sizeof(ULONG);
        break;
    case CODE(1):
        if (In >= sizeof(ULONG)) Status = ReplaceConfig(*Buffer);
        break;
    case CODE(2):
        if (In < sizeof(ULONG64)) break;
        WritePair(*(PULONG64)Buffer);
        Status = STATUS_SUCCESS;
        break;
    case CODE(3):
        if (Out < sizeof(ULONG64)) break;
        if (!ReadPair(&Wide)) KeBugCheck(0xBEEF);
        *(PULONG64)Buffer = Wide;
        Information = sizeof(Wide);
        Status = STATUS_SUCCESS;
        break;
    case CODE(4):
        if (Out < sizeof(ULONG64)) break;
        *(PULONG64)Buffer = SumCalls();
        Information = sizeof(ULONG64);
        Status = STATUS_SUCCESS;
        break;
    case CODE(5):
        Status = GetScratch() != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
        break;
    default:
        Status = STATUS_INVALID_DEVICE_REQUEST;
    }
    if (Verbose) DbgPrint("config: %08x\n", Status);
    return UiComplete(Irp, Status, Information);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExWaitForRundownProtectionRelease(&Rundown);
    UiUnload(Driver);
    ExFreePoolWithTag(Config, UI_TAG);
    if (Scratch != NULL) ExFreePoolWithTag(Scratch, UI_TAG);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    Verbose = RegistryPath->Length > 400;
    ExInitializeRundownProtection(&Rundown);
    ExInitializeFastMutex(&WriterMutex);
    KeInitializeSpinLock(&PairLock);
    PairHigh = ~0ULL;
    Config = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Config), UI_TAG);
    if (Config == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Config, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
