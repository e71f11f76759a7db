// A routine in a pageable section is called inside a spin lock.
#include <ntddk.h>

static ULONG Count(VOID);
#pragma alloc_text(PAGE, Count)

static ULONG Total;

static __declspec(noinline) ULONG Count(VOID)
{
    return ++Total; //~ irql::pageable_touched_at_dispatch
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KSPIN_LOCK Lock;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Count();
    KeReleaseSpinLock(&Lock, OldIrql);
    return STATUS_SUCCESS;
}
