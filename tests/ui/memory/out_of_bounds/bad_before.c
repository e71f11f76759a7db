// The header that the driver looks for in front of its block is not there.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    DbgPrint("%u bytes\n", Block[-1]); //~ memory::out_of_bounds
    ExFreePoolWithTag((PVOID)Block, 'tseT');
    return STATUS_SUCCESS;
}
