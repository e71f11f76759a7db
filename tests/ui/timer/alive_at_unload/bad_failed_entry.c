// DriverEntry fails after it has set the timer.
#include <ntddk.h>

static KTIMER Timer;
static KDPC Dpc;
static ULONG Ticks;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Ticks++;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInitializeTimer(&Timer);
    Due.QuadPart = -10000000;
    KeSetTimer(&Timer, Due, &Dpc); //~ timer::alive_at_unload
    return STATUS_NOT_SUPPORTED;
}
