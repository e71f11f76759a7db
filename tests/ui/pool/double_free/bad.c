// The error path frees the block, and the common exit frees it again.
#include <ntddk.h>

static NTSTATUS Parse(PUCHAR Block)
{
    return Block[0] == 'M' ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    PUCHAR Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, 32, 'tseT'); //~ NOTE: allocated
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(Block, 32);
    Status = Parse(Block);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(Block, 'tseT'); //~ NOTE: freed
    }
    ExFreePoolWithTag(Block, 'tseT'); //~ pool::double_free
    return STATUS_UNSUCCESSFUL;
}
