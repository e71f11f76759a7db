// The helper restores the level that it found.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Requests;

static __declspec(noinline) VOID Count(VOID)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    Requests++;
    KeReleaseSpinLock(&Lock, OldIrql);
    DbgPrint("counted\n");
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Count();
    KeLowerIrql(OldIrql);
    Count();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
