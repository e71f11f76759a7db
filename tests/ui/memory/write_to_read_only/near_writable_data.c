// Initialised variables and arrays, one of them in a section of its own, are changed.
#include <ntddk.h>

#pragma data_seg("CONFIG")
static WCHAR Prefix[] = L"\\??\\monitor";
#pragma data_seg()
static volatile CHAR Name[] = "monitor";
static volatile ULONG Zero;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Name[0] = 'M';
    Zero++;
    ((volatile WCHAR *)Prefix)[4] = L'M';
    DbgPrint("%s %ws %u\n", Name, Prefix, Zero);
    return STATUS_SUCCESS;
}
