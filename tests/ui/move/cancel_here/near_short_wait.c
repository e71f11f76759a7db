// Requests last a millisecond, so they have no cancel routine; who completes one looks at Cancel.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static PIRP Waiting;
static KTIMER Timer;
static KDPC Dpc;

static VOID Done(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    PIRP Irp;

    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    Irp = Waiting;
    Waiting = NULL;
    KeReleaseSpinLockFromDpcLevel(&Lock);
    if (!Irp) return;
    UiComplete(Irp, Irp->Cancel ? STATUS_CANCELLED : STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due;
    NTSTATUS Status = STATUS_PENDING;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    Due.QuadPart = -10000;
    KeAcquireSpinLock(&Lock, &Irql);
    if (Waiting) {
        Status = STATUS_DEVICE_BUSY;
    } else {
        IoMarkIrpPending(Irp);
        Waiting = Irp;
        KeSetTimer(&Timer, Due, &Dpc);
    }
    KeReleaseSpinLock(&Lock, Irql);
    if (Status == STATUS_PENDING) return Status;
    return UiComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Done, NULL);
    Status = UiStart(Driver, DeviceControl);
    if (NT_SUCCESS(Status)) Driver->DriverUnload = Unload;
    return Status;
}
