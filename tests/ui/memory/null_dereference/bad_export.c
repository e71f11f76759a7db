// A null buffer is cleared by a kernel routine.
#include <ntddk.h>

static volatile SIZE_T Length = 200;
static PVOID volatile Buffer;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    RtlZeroMemory(Buffer, Length); //~ memory::null_dereference
    return STATUS_SUCCESS;
}
