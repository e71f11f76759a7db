// A null pointer is followed inside __try: an exception, which the driver takes.
#include <ntddk.h>

static PULONG volatile Nothing;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG Value = 0;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    __try {
        Value = *(volatile ULONG *)Nothing;
        *(volatile ULONG *)(Nothing + 8) = Value;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Value = 1;
    }
    return Value == 1 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
