// A kernel routine is called through the address that MmGetSystemRoutineAddress gave.
#include <ntddk.h>

typedef ULONG (*PDBG_PRINT)(PCSTR, ...);

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Known = RTL_CONSTANT_STRING(L"DbgPrint");
    UNICODE_STRING Unknown = RTL_CONSTANT_STRING(L"NoSuchRoutineAtAll");
    PDBG_PRINT Print;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Print = (PDBG_PRINT)(ULONG_PTR)MmGetSystemRoutineAddress(&Known);
    if (Print) Print("looked up %d\n", 1);
    Print = (PDBG_PRINT)(ULONG_PTR)MmGetSystemRoutineAddress(&Unknown);
    if (Print) Print("found\n");
    return STATUS_SUCCESS;
}
