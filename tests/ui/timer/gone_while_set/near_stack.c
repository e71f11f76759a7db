// A timer on the stack, waited for in the routine that has it.
#include <ntddk.h>

static NTSTATUS Sleep(LONG Milliseconds)
{
    KTIMER Timer;
    LARGE_INTEGER Due;

    KeInitializeTimerEx(&Timer, SynchronizationTimer);
    Due.QuadPart = Milliseconds * -10000LL;
    KeSetTimerEx(&Timer, Due, 5, NULL);
    KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL);
    KeCancelTimer(&Timer);
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    return Sleep(3);
}
