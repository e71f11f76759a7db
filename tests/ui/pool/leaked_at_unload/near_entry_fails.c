// DriverEntry fails and frees what it had; there is no Unload call to wait for.
//@exit: 3
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID First, Second;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    First = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (!First) return STATUS_INSUFFICIENT_RESOURCES;
    Second = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    if (Second) ExFreePoolWithTag(Second, 'tseT');
    ExFreePoolWithTag(First, 'tseT');
    return STATUS_DEVICE_NOT_CONNECTED;
}
