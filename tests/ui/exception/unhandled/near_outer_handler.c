// The inner filter goes on searching, a caller further up takes the exception.
//@exit: 3
#include <ntddk.h>

static ULONG volatile Unwound;

static __declspec(noinline) VOID Inner(NTSTATUS Status)
{
    __try {
        __try {
            ExRaiseStatus(Status);
        } __except (EXCEPTION_CONTINUE_SEARCH) {
            DbgPrint("not here\n");
        }
    } __finally {
        Unwound += AbnormalTermination() ? 1 : 100;
    }
}

static __declspec(noinline) VOID Middle(NTSTATUS Status)
{
    volatile ULONG Locals[8] = {0};

    Inner(Status);
    Locals[0] = Locals[7];
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    __try {
        Middle(STATUS_DATATYPE_MISALIGNMENT);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status == STATUS_DATATYPE_MISALIGNMENT && Unwound == 1 ? STATUS_SUCCESS
                                                                  : STATUS_UNSUCCESSFUL;
}
