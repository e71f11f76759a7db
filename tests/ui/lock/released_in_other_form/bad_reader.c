// A reader is released as a writer.
#include <ntddk.h>

static EX_SPIN_LOCK Lock;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    OldIrql = ExAcquireSpinLockShared(&Lock); //~ NOTE: acquired
    ExReleaseSpinLockExclusive(&Lock, OldIrql); //~ lock::released_in_other_form
    return STATUS_SUCCESS;
}
