// On the stack of a thread of the kernel, which stays.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KEVENT Event;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -20000;
    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Due);
    return STATUS_SUCCESS;
}
