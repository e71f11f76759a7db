// A copy of an event is none: its list leads to the original.
#include <ntddk.h>

static KEVENT Event;
static KEVENT Copy;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -10000;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    RtlCopyMemory(&Copy, &Event, sizeof(KEVENT));
    KeSetEvent(&Copy, IO_NO_INCREMENT, FALSE); //~ wait::not_initialized
    return STATUS_SUCCESS;
}
