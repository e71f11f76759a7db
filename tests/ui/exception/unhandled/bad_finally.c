// A __finally block tidies up, but nobody takes the exception.
#include <ntddk.h>

static volatile LONG Divisor;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile LONG Result = 0;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    __try {
        Result = 100 / Divisor; //~ exception::unhandled
    } __finally {
        DbgPrint("tidy: %d\n", Result);
    }
    return STATUS_SUCCESS;
}
