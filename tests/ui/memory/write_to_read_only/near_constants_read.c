// Constants and code are read: as data, as source of a copy, and through a pointer without const.
#include <ntddk.h>

static const ULONG Table[] = {1, 2, 3, 4};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PULONG Values = (PULONG)Table;
    ULONG Copy[4];
    UCHAR First;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    RtlCopyMemory(Copy, Values, sizeof(Table));
    Copy[0]++;
    First = *(volatile UCHAR *)(ULONG_PTR)DriverEntry;
    DbgPrint("%u %u %x\n", Copy[0], ((volatile ULONG *)Values)[3], First);
    return STATUS_SUCCESS;
}
