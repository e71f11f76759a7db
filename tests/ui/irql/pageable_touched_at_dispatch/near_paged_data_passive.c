// Pageable variables change at PASSIVE_LEVEL; at DISPATCH_LEVEL only a copy on the stack is used.
#include <ntddk.h>

#pragma data_seg("PAGEDATA")
static volatile ULONG Count = 1;
#pragma data_seg()
static volatile ULONG Resident;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG Copy = ++Count;
    volatile ULONG *Paged;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Paged = ExAllocatePoolWithTag(PagedPool, 64, 'tseT');
    if (!Paged) return STATUS_INSUFFICIENT_RESOURCES;
    Paged[0] = Copy;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Resident = Copy;
    /* The address may be used, not what is there. */
    DbgPrint("%p\n", Paged + 1);
    KeLowerIrql(OldIrql);
    Count = Paged[0] + Resident;
    ExFreePoolWithTag((PVOID)Paged, 'tseT');
    return STATUS_SUCCESS;
}
