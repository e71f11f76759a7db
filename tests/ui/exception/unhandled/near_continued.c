// The filter mends the cause and lets the instruction run again.
#include <ntddk.h>

static volatile LONG Divisor;

static LONG Mend(VOID)
{
    Divisor = 2;
    return EXCEPTION_CONTINUE_EXECUTION;
}

static __declspec(noinline) LONG Half(LONG Value)
{
    LONG Result = Value, Rest = 0;

    /* idiv reads the divisor from memory, so running it again sees the new one */
    __try {
        __asm__ volatile("idivl %2" : "+a"(Result), "+d"(Rest) : "m"(Divisor) : "cc");
    } __except (Mend()) {
        return 0;
    }
    return Result;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    return Half(84) == 42 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
