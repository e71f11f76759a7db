// A loop visits the 200 nodes, with half a KiB of locals.
#include <ntddk.h>

static __declspec(noinline) ULONG Visit(ULONG Node, volatile UCHAR *Above)
{
    volatile UCHAR Scratch[512];

    Scratch[0] = *Above;
    for (; Node; Node--) Scratch[0] = (UCHAR)(Node + Scratch[0]);
    return Scratch[0];
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR First = 1;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    return Visit(200, &First) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
