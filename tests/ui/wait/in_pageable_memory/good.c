// The event stands in non-paged pool.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KEVENT *Object;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -20000;
    Object = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Object), 'tseT');
    if (!Object) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeEvent(Object, NotificationEvent, FALSE);
    KeSetEvent(Object, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &Due);
    ExFreePoolWithTag(Object, 'tseT');
    return STATUS_SUCCESS;
}
