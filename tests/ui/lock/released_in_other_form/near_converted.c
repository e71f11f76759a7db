// A reader that became a writer is released as a writer.
#include <ntddk.h>

static EX_SPIN_LOCK Lock;
NTKERNELAPI LOGICAL NTAPI ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock);

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    OldIrql = ExAcquireSpinLockShared(&Lock);
    if (ExTryConvertSharedSpinLockExclusive(&Lock)) {
        ExReleaseSpinLockExclusive(&Lock, OldIrql);
    } else {
        ExReleaseSpinLockShared(&Lock, OldIrql);
    }
    return STATUS_SUCCESS;
}
