// KeSetEvent with Wait set, for a wait that follows, is limited to APC_LEVEL.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;
    KEVENT Event;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeSetEvent(&Event, IO_NO_INCREMENT, TRUE); //~ irql::export_above_limit
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
