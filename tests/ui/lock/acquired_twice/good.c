// The helper is called with the spin lock held.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Requests;

static __declspec(noinline) VOID Count(VOID)
{
    Requests++;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &OldIrql);
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
