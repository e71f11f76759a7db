// The block gets no name: its tag is 0.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 0); //~ pool::tag_zero
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePool(Block);
    return STATUS_SUCCESS;
}
