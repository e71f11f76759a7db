// The pointer's value is printed and compared after the free; nobody follows it.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile PVOID Last;
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 256, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    Last = Block;
    ExFreePoolWithTag(Block, 'tseT');
    DbgPrint("freed %p\n", Last);
    if (Last == NULL) return STATUS_UNSUCCESSFUL;
    RtlCopyMemory(Last, Last, 0);
    return STATUS_SUCCESS;
}
