// Paged pool beside it holds only what no DPC needs.
#include <ntddk.h>

static ULONG Ticks;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Ticks++;
}

static KDPC Object;

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
    KeInitializeDpc(&Object, Deferred, NULL);
    KeInsertQueueDpc(&Object, NULL, NULL);
    KeFlushQueuedDpcs();
    Due.QuadPart = Ticks;
    ExFreePoolWithTag(Settings, 'tseT');
    return STATUS_SUCCESS;
}
