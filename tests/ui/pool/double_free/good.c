// The error path leaves the block to the common exit.
//@exit: 3
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

    Block = ExAllocatePoolWithTag(PagedPool, 32, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(Block, 32);
    Status = Parse(Block);
    if (!NT_SUCCESS(Status)) {
        DbgPrint("cannot parse: %x\n", Status);
    }
    ExFreePoolWithTag(Block, 'tseT');
    return STATUS_UNSUCCESSFUL;
}
