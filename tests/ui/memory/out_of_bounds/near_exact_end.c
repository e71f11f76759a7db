// The last bytes of a block of odd length are written and read, with wide and unaligned accesses.
#include <ntddk.h>

#define LENGTH 29

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UCHAR Copy[LENGTH];
    PUCHAR Block;
    ULONG64 Sum;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, LENGTH, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    RtlFillMemory(Block, LENGTH, 0x5A);
    *(volatile UCHAR *)(Block + LENGTH - 1) = 1;
    Sum = *(volatile ULONG UNALIGNED *)(Block + LENGTH - 4);
    Sum += *(volatile ULONG64 UNALIGNED *)(Block + LENGTH - 8);
    RtlCopyMemory(Copy, Block, LENGTH);
    Sum += RtlCompareMemory(Copy, Block, LENGTH);
    ExFreePoolWithTag(Block, 'tseT');
    return Sum == 0 ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
}
