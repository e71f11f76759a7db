// A reader acquires its reader/writer spin lock again.
#include <ntddk.h>

static EX_SPIN_LOCK Lock;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL Outer, Inner;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Outer = ExAcquireSpinLockShared(&Lock); //~ NOTE: acquired
    Inner = ExAcquireSpinLockShared(&Lock); //~ lock::acquired_twice
    ExReleaseSpinLockShared(&Lock, Inner);
    ExReleaseSpinLockShared(&Lock, Outer);
    return STATUS_SUCCESS;
}
