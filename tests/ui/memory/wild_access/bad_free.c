// The address in the middle of a block is freed, where no block starts.
#include <ntddk.h>

typedef struct _ITEM {
    ULONG64 Number;
    ULONG64 Pad;
    LIST_ENTRY Link;
} ITEM, *PITEM;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PITEM Item;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Item = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(ITEM), 'tseT');
    if (!Item) return STATUS_INSUFFICIENT_RESOURCES;
    ExFreePoolWithTag(&Item->Link, 'tseT'); //~ memory::wild_access
    return STATUS_SUCCESS;
}
