// The table is taken for 1 GiB longer than it is.
#include <ntddk.h>

static volatile ULONG64 Index = 0x8000000;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG64 *Table;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Table = ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'tseT');
    if (!Table) return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        Table[Index] = 0; //~ memory::wild_access
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        DbgPrint("no handler can take this\n");
    }
    ExFreePoolWithTag((PVOID)Table, 'tseT');
    return STATUS_SUCCESS;
}
