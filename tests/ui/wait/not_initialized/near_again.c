// An event on the stack, initialised again for each use.
#include <ntddk.h>


NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -10000;
    for (ULONG Round = 0; Round < 3; Round++) {
        KEVENT Event;

        KeInitializeEvent(&Event, NotificationEvent, FALSE);
        KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
        KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Due);
        KeClearEvent(&Event);
    }
    return STATUS_SUCCESS;
}
