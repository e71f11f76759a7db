// A variable in a pageable section is changed inside a spin lock.
#include <ntddk.h>

#pragma data_seg("PAGEDATA")
static volatile ULONG Count = 1;
#pragma data_seg()

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Count = 2;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Count = 3; //~ irql::pageable_touched_at_dispatch
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
