// A static event is all zeros, which is no event.
#include <ntddk.h>

static KEVENT Event;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -10000;
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Due); //~ wait::not_initialized
    return STATUS_SUCCESS;
}
