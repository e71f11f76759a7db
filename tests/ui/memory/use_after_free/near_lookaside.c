// Blocks go back to a lookaside list, which keeps them, and come out of it again.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PNPAGED_LOOKASIDE_LIST List;
    volatile ULONG64 *Block;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    List = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*List), 'tseT');
    if (!List) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializeNPagedLookasideList(List, NULL, NULL, 0, 64, 'tseT', 0);
    for (i = 0; i < 4; i++) {
        Block = ExAllocateFromNPagedLookasideList(List);
        if (!Block) break;
        Block[0] = Block[7] = i;
        ExFreeToNPagedLookasideList(List, (PVOID)Block);
    }
    ExDeleteNPagedLookasideList(List);
    ExFreePoolWithTag(List, 'tseT');
    return STATUS_SUCCESS;
}
