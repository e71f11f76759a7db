// Many rounds of allocate, use, free: an address may come back, as a new block.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG64 *Block = NULL;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    for (i = 0; i < 500; i++) {
        Block = ExAllocatePoolWithTag(i & 1 ? PagedPool : NonPagedPoolNx, 0x1000, 'tseT');
        if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
        Block[0] = Block[511] = i;
        if (Block[0] != Block[511]) DbgPrint("not mine\n");
        ExFreePoolWithTag((PVOID)Block, 'tseT');
    }
    return STATUS_SUCCESS;
}
