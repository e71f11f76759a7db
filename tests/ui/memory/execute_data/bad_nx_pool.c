// Code is copied to pool that was asked for as not executable.
#include <ntddk.h>

typedef VOID (*PROUTINE)(VOID);

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PUCHAR Code;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Code = ExAllocatePoolWithTag(NonPagedPoolNx, 16, 'tseT');
    if (!Code) return STATUS_INSUFFICIENT_RESOURCES;
    RtlFillMemory(Code, 16, 0xC3);
    ((PROUTINE)(ULONG_PTR)Code)(); //~ memory::execute_data
    ExFreePoolWithTag(Code, 'tseT');
    return STATUS_SUCCESS;
}
