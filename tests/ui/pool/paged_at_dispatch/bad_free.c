// Paged pool is freed at DISPATCH_LEVEL.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePool2(POOL_FLAG_PAGED, 64, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    ExFreePoolWithTag(Block, 'tseT'); //~ pool::paged_at_dispatch
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
