// A breakpoint inside __try, as drivers use to find out whether a debugger listens.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    BOOLEAN IsListening = TRUE;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    __try {
        DbgBreakPoint();
    } __except (GetExceptionCode() == STATUS_BREAKPOINT ? EXCEPTION_EXECUTE_HANDLER
                                                        : EXCEPTION_CONTINUE_SEARCH) {
        IsListening = FALSE;
    }
    DbgPrint("debugger: %u\n", IsListening);
    return STATUS_SUCCESS;
}
