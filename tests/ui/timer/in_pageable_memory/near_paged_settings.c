// Paged pool beside it holds only what no DPC needs.
#include <ntddk.h>

static KTIMER Object;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG *Settings;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -20000;
    Settings = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    if (!Settings) return STATUS_INSUFFICIENT_RESOURCES;
    Settings[0] = 1;
    KeInitializeTimer(&Object);
    KeSetTimer(&Object, Due, NULL);
    KeWaitForSingleObject(&Object, Executive, KernelMode, FALSE, NULL);
    ExFreePoolWithTag(Settings, 'tseT');
    return STATUS_SUCCESS;
}
