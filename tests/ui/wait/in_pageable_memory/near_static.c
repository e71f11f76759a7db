// Paged pool beside it holds only what no DPC needs.
#include <ntddk.h>

static KEVENT Object;

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
    KeInitializeEvent(&Object, SynchronizationEvent, TRUE);
    KeWaitForSingleObject(&Object, Executive, KernelMode, FALSE, &Due);
    ExFreePoolWithTag(Settings, 'tseT');
    return STATUS_SUCCESS;
}
