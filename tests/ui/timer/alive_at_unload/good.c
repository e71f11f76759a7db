// Unload cancels the timer.
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

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    KeCancelTimer(&Timer);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInitializeTimer(&Timer);
    Due.QuadPart = -10000000;
    KeSetTimerEx(&Timer, Due, 1000, &Dpc);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
