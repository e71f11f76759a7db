// 60 levels of recursion with 256 bytes each: about 16 of the 24 KiB.
#include <ntddk.h>

static __declspec(noinline) ULONG Visit(ULONG Node, volatile UCHAR *Above)
{
    volatile UCHAR Scratch[192];

    Scratch[0] = (UCHAR)(Node + *Above);
    return Node ? Visit(Node - 1, Scratch) : *Above;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR First = 1;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    return Visit(60, &First) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
