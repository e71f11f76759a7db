// The helper acquires the spin lock that its caller holds.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Requests;

static __declspec(noinline) VOID Count(VOID)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql); //~ lock::acquired_twice
    Requests++;
    KeReleaseSpinLock(&Lock, OldIrql);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &OldIrql); //~ NOTE: acquired
    Count();
    KeReleaseSpinLock(&Lock, OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
