// The block from ExAllocatePool2 gets no name: its tag is 0.
#include <ntddk.h>

static volatile ULONG Tag;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePool2(POOL_FLAG_PAGED, 64, Tag); //~ pool::tag_zero
    if (Block) ExFreePool(Block);
    return STATUS_SUCCESS;
}
