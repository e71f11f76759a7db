// Too much pool is asked for, and the result of the allocation is compared with null.
//@exit: 3
#include <ntddk.h>

static volatile SIZE_T Length = (SIZE_T)-0x100000; /* a subtraction went below zero */

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG64 *Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, Length, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    Block[3] = 1;
    ExFreePoolWithTag((PVOID)Block, 'tseT');
    return STATUS_SUCCESS;
}
