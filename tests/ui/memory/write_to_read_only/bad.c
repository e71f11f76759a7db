// The first character of a string literal is changed.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PCHAR Name = "monitor";

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    *(volatile CHAR *)Name = 'M'; //~ memory::write_to_read_only
    DbgPrint("%s\n", Name);
    return STATUS_SUCCESS;
}
