// The helper takes it that it is called at PASSIVE_LEVEL.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Requests;

static __declspec(noinline) VOID Count(VOID)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql); //~ NOTE: acquired
    Requests++;
    KeReleaseSpinLock(&Lock, PASSIVE_LEVEL); //~ lock::released_at_wrong_irql
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
