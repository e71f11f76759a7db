// The block stays, and so does the driver: it has no Unload routine.
#include <ntddk.h>

static PVOID volatile Block;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    return Block ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}
