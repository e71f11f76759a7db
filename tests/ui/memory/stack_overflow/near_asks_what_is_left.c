// The recursion ends when less than 4 KiB of the stack are left.
#include <ntddk.h>

static __declspec(noinline) ULONG Visit(ULONG Node, volatile UCHAR *Above)
{
    volatile UCHAR Scratch[512];
    ULONG_PTR Low, High;

    IoGetStackLimits(&Low, &High);
    Scratch[0] = (UCHAR)(Node + *Above);
    if ((ULONG_PTR)Scratch - Low < 4096) return Node;
    return Visit(Node + 1, Scratch);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR First = 1;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    return Visit(0, &First) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
