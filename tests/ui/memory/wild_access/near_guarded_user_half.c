// Addresses in the lower half and non-canonical ones fault inside __try: exceptions, all taken.
#include <ntddk.h>

static NTSTATUS Peek(ULONG_PTR Address)
{
    __try {
        return *(volatile UCHAR *)Address ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
    } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER
                                                              : EXCEPTION_CONTINUE_SEARCH) {
        return GetExceptionCode();
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    if (Peek(0x10000) == STATUS_ACCESS_VIOLATION) DbgPrint("not mapped\n");
    if (Peek(0x00007FFF00000000) == STATUS_ACCESS_VIOLATION) DbgPrint("not mapped\n");
    if (Peek(0x8000000000000000) == STATUS_ACCESS_VIOLATION) DbgPrint("no address\n");
    return STATUS_SUCCESS;
}
