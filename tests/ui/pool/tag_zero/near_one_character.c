// A tag of one character: three of its four bytes are 0.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID First, Last;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    First = ExAllocatePoolWithTag(PagedPool, 1, 'x');
    Last = ExAllocatePoolWithTag(NonPagedPoolNx, 0x2000, 'x' << 24);
    if (First) ExFreePoolWithTag(First, 'x');
    if (Last) ExFreePoolWithTag(Last, 'x' << 24);
    return STATUS_SUCCESS;
}
