// Run-down protection is released although it was refused.
#include <ntddk.h>

static EX_RUNDOWN_REF Rundown;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeRundownProtection(&Rundown);
    ExWaitForRundownProtectionRelease(&Rundown);
    if (!ExAcquireRundownProtection(&Rundown)) DbgPrint("gone\n");
    ExReleaseRundownProtection(&Rundown); //~ lock::released_not_held
    return STATUS_SUCCESS;
}
