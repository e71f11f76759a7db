// The first character of a copy of a string literal is changed.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    CHAR Name[] = "monitor";

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    *(volatile CHAR *)Name = 'M';
    DbgPrint("%s\n", Name);
    return STATUS_SUCCESS;
}
