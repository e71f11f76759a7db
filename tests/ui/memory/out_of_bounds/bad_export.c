// The copy is longer than the block: the kernel routine writes behind it.
#include <ntddk.h>

static const UCHAR Image[40] = {1};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile SIZE_T Length = sizeof(Image);
    PVOID Block;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, 33, 'tseT'); //~ NOTE: allocated
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    RtlCopyMemory(Block, Image, Length); //~ memory::out_of_bounds
    ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}
