// The driver takes a request back from its cancel routine without asking whether it got it.
//@args: --budget quick
//@needs: cancel_here
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static PIRP Waiting;
static KTIMER Timer;
static KDPC Dpc;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KeAcquireSpinLock(&Lock, &Irql);
    if (Waiting == Irp) Waiting = NULL;
    KeReleaseSpinLock(&Lock, Irql);
    UiComplete(Irp, STATUS_CANCELLED, 0); //~ irp::touched_after_completion
}

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
    if (!Irp) return; //~ NOTE: the caller cancels the request
    IoSetCancelRoutine(Irp, NULL); //~ irp::touched_after_completion
    UiComplete(Irp, STATUS_SUCCESS, 0);
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
        IoSetCancelRoutine(Irp, Cancel);
        if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL)) {
            Status = STATUS_CANCELLED;
        } else {
            Waiting = Irp;
            KeSetTimer(&Timer, Due, &Dpc);
        }
    }
    KeReleaseSpinLock(&Lock, Irql);
    if (Status == STATUS_PENDING) return Status;
    UiComplete(Irp, Status, 0);
    return Status == STATUS_CANCELLED ? STATUS_PENDING : Status;
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
