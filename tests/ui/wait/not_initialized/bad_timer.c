// The timer is set before it is initialised.
#include <ntddk.h>

static KTIMER Timer;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -10000;
    KeSetTimer(&Timer, Due, NULL); //~ wait::not_initialized
    KeInitializeTimer(&Timer);
    return STATUS_SUCCESS;
}
