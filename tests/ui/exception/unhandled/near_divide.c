// Division by zero: asked for before, and taken as an exception.
#include <ntddk.h>

static volatile LONG Zero, Lowest = MINLONG, MinusOne = -1;

static LONG Divide(LONG Left, LONG Right, LONG Otherwise)
{
    __try {
        return Left / Right;
    } __except (GetExceptionCode() == STATUS_INTEGER_DIVIDE_BY_ZERO ||
                        GetExceptionCode() == STATUS_INTEGER_OVERFLOW
                    ? EXCEPTION_EXECUTE_HANDLER
                    : EXCEPTION_CONTINUE_SEARCH) {
        return Otherwise;
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LONG Sum;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Sum = Zero ? 100 / Zero : 1;
    Sum += Divide(100, Zero, 2);
    Sum += Divide(Lowest, MinusOne, 3);
    Sum += Divide(Lowest, 2, 0) - Lowest / 2;
    return Sum == 6 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
