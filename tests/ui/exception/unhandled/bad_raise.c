// The filter refuses the exception that the driver itself raises.
#include <ntddk.h>

static volatile ULONG Version = 7;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    __try {
        if (Version != 8) ExRaiseStatus(STATUS_REVISION_MISMATCH); //~ exception::unhandled
    } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER
                                                              : EXCEPTION_CONTINUE_SEARCH) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}
