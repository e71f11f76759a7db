// Pageable and INIT code runs at PASSIVE_LEVEL and APC_LEVEL only; at DISPATCH_LEVEL .text runs.
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;
static ULONG Paged(ULONG Value);
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(PAGE, Paged)

static __declspec(noinline) ULONG Resident(ULONG Value)
{
    return Value + 1;
}

static __declspec(noinline) ULONG Paged(ULONG Value)
{
    KSPIN_LOCK Lock;
    KIRQL OldIrql;

    PAGED_CODE();
    KeInitializeSpinLock(&Lock);
    Value = Resident(Value);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    Value = Resident(Value);
    KeLowerIrql(OldIrql);
    return Value;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;
    ULONG Value;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeRaiseIrql(APC_LEVEL, &OldIrql);
    Value = Paged(1);
    KeLowerIrql(OldIrql);
    return Paged(Value) == 5 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
