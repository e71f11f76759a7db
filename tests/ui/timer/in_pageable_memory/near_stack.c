// On the stack of a thread of the kernel, which stays.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KTIMER Timer;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -20000;
    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, Due, NULL);
    KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL);
    return STATUS_SUCCESS;
}
