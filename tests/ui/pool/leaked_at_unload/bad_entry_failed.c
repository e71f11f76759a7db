// DriverEntry fails after it allocated a block; nobody will call Unload.
#include <ntddk.h>

static PVOID Block;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ExFreePoolWithTag(Block, 'tseT');
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    Driver->DriverUnload = Unload;
    Block = ExAllocatePoolWithTag(PagedPool, 64, 'tseT'); //~ pool::leaked_at_unload
    return STATUS_DEVICE_NOT_CONNECTED;
}
