// The routine calls itself once for each of 200 nodes, with half a KiB of locals.
#include <ntddk.h>

static __declspec(noinline) ULONG Visit(ULONG Node, volatile UCHAR *Above)
{
    volatile UCHAR Scratch[512];

    Scratch[0] = (UCHAR)(Node + *Above); //~ memory::stack_overflow
    return Node ? Visit(Node - 1, Scratch) : *Above;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR First = 1;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    return Visit(200, &First) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
