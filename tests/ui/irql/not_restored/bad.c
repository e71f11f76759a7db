// An early return leaves the spin lock held: the request ends at DISPATCH_LEVEL.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    UiComplete(Irp, STATUS_SUCCESS, 0);
    KeAcquireSpinLock(&Lock, &OldIrql); //~ NOTE: raised
    if (Users == 0) return STATUS_SUCCESS;
    Users--;
    KeReleaseSpinLock(&Lock, OldIrql);
    return STATUS_SUCCESS;
} //~ irql::not_restored

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Driver->DriverUnload = NULL; /* it would be called at the wrong IRQL too */
    return Status;
}
