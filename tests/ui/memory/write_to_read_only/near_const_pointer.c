// The pointer says const, the block behind it does not.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    const ULONG *Values;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Values = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    if (!Values) return STATUS_INSUFFICIENT_RESOURCES;
    *(volatile ULONG *)Values = 7;
    RtlZeroMemory((PVOID)Values, 64);
    ExFreePoolWithTag((PVOID)Values, 'tseT');
    return STATUS_SUCCESS;
}
