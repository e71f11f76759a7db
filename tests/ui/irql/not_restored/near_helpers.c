// One helper returns with the lock held, another releases it; the dispatch routine is balanced.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Requests;

static __declspec(noinline) KIRQL Enter(VOID)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    return OldIrql;
}

static __declspec(noinline) VOID Leave(KIRQL OldIrql)
{
    KeReleaseSpinLock(&Lock, OldIrql);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql = Enter();

    UNREFERENCED_PARAMETER(Device);
    Requests++;
    if (Requests & 1) {
        Leave(OldIrql);
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    Leave(OldIrql);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
