// A pointer goes through 32 bits and loses its upper half.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG Cookie;
    PUCHAR Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 0x20000, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    Cookie = (ULONG)(ULONG_PTR)(Block + 0x10000);
    *(volatile ULONG *)(ULONG_PTR)Cookie = 1; //~ memory::wild_access
    ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}
