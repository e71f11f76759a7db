// The driver patches the first byte of its own routine.
#include <ntddk.h>

static __declspec(noinline) NTSTATUS Answer(VOID)
{
    return STATUS_SUCCESS;
}

static PVOID volatile Target = (PVOID)Answer;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    *(volatile UCHAR *)Target = 0xC3; //~ memory::write_to_read_only
    return Answer();
}
