// One frame of 12 KiB, probed page by page as compilers do, filled from its lowest byte.
#include <ntddk.h>

static __declspec(noinline) ULONG Sum(UCHAR Value)
{
    volatile UCHAR Scratch[12 * 1024];
    ULONG i, Sum = 0;

    for (i = 0; i < sizeof(Scratch); i++) Scratch[i] = Value;
    for (i = 0; i < sizeof(Scratch); i += 64) Sum += Scratch[i];
    return Sum;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    return Sum(1) == 12 * 1024 / 64 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
