// One request waits; whoever exchanges its cancel routine for NULL, and gets it, completes it.
#include "ui_driver.h"

#define IOCTL_WAIT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x811, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_WAKE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x812, METHOD_BUFFERED, FILE_ANY_ACCESS)

static KSPIN_LOCK Lock;
static PIRP Waiting;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KeAcquireSpinLock(&Lock, &OldIrql);
    if (Waiting == Irp) Waiting = NULL;
    KeReleaseSpinLock(&Lock, OldIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Wait(PIRP Irp)
{
    NTSTATUS Status = STATUS_PENDING;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (Waiting != NULL) {
        Status = STATUS_DEVICE_BUSY;
    } else {
        IoSetCancelRoutine(Irp, Cancel);
        if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
            Status = STATUS_CANCELLED;
        } else {
            IoMarkIrpPending(Irp);
            Waiting = Irp;
        }
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    return Status == STATUS_PENDING ? Status : UiComplete(Irp, Status, 0);
}

static NTSTATUS Wake(VOID)
{
    PIRP Irp = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (Waiting != NULL &&
        InterlockedExchangePointer((PVOID volatile *)&Waiting->CancelRoutine, NULL) != NULL) {
        Irp = Waiting;
        Waiting = NULL;
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    if (Irp == NULL) return STATUS_NOT_FOUND;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    switch (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_WAIT: return Wait(Irp);
    case IOCTL_WAKE: return UiComplete(Irp, Wake(), 0);
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
