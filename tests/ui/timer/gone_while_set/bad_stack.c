// The timer stands in the frame of a routine that returns.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KTIMER Timer;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    Due.QuadPart = -20000;
    KeSetTimer(&Timer, Due, NULL); //~ NOTE: the timer was set here
    return STATUS_SUCCESS; //~ timer::gone_while_set
}
