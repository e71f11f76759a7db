// At DISPATCH_LEVEL: events set without Wait, waits with a timeout of zero, a semaphore released.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Now = {{0, 0}};
    KSEMAPHORE Semaphore;
    PVOID Objects[2];
    KIRQL OldIrql;
    KEVENT Event;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    KeInitializeSemaphore(&Semaphore, 0, 2);
    Objects[0] = &Event;
    Objects[1] = &Semaphore;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    KeReleaseSemaphore(&Semaphore, IO_NO_INCREMENT, 1, FALSE);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Now);
    KeWaitForMultipleObjects(2, Objects, WaitAny, Executive, KernelMode, FALSE, &Now, NULL);
    KeResetEvent(&Event);
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
