// A lookaside list of non-paged blocks at DISPATCH_LEVEL, one of paged blocks at PASSIVE_LEVEL.
#include <ntddk.h>

static NPAGED_LOOKASIDE_LIST Resident;
static PAGED_LOOKASIDE_LIST Paged;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    ExInitializeNPagedLookasideList(&Resident, NULL, NULL, 0, 64, 'tseT', 0);
    ExInitializePagedLookasideList(&Paged, NULL, NULL, 0, 64, 'tseT', 0);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Block = ExAllocateFromNPagedLookasideList(&Resident);
    if (Block) ExFreeToNPagedLookasideList(&Resident, Block);
    KeLowerIrql(OldIrql);
    Block = ExAllocateFromPagedLookasideList(&Paged);
    if (Block) ExFreeToPagedLookasideList(&Paged, Block);
    ExDeletePagedLookasideList(&Paged);
    ExDeleteNPagedLookasideList(&Resident);
    return STATUS_SUCCESS;
}
