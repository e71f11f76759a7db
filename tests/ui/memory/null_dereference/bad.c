// Too much pool is asked for, and nobody looks whether the allocation failed.
#include <ntddk.h>

static volatile SIZE_T Length = (SIZE_T)-0x100000; /* a subtraction went below zero */

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG64 *Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, Length, 'tseT');
    Block[3] = 1; //~ memory::null_dereference
    ExFreePoolWithTag((PVOID)Block, 'tseT');
    return STATUS_SUCCESS;
}
