// A made-up address is only touched if MmIsAddressValid says yes, and it says no.
#include <ntddk.h>

static volatile ULONG_PTR Guess = 0xFFFFA80012345000;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    if (MmIsAddressValid((PVOID)Guess)) DbgPrint("%x\n", *(volatile UCHAR *)Guess);
    return STATUS_SUCCESS;
}
