// One request at a time through StartIo; a timer of 20 ms completes it, cancel finds queued ones.
#include "ui_driver.h"

static KTIMER Timer;

static VOID Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    BOOLEAN IsQueued = FALSE;

    if (Irp != Device->CurrentIrp) {
        IsQueued =
            KeRemoveEntryDeviceQueue(&Device->DeviceQueue, &Irp->Tail.Overlay.DeviceQueueEntry);
    }
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    if (IsQueued) UiComplete(Irp, STATUS_CANCELLED, 0);
}

static VOID StartIo(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due = {.QuadPart = -20 * 10000};
    KIRQL Irql;

    IoAcquireCancelSpinLock(&Irql);
    if (Irp != Device->CurrentIrp) {
        IoReleaseCancelSpinLock(Irql);
        return;
    }
    IoSetCancelRoutine(Irp, NULL);
    if (Irp->Cancel) {
        IoReleaseCancelSpinLock(Irql);
        IoStartNextPacket(Device, TRUE);
        UiComplete(Irp, STATUS_CANCELLED, 0);
        return;
    }
    IoReleaseCancelSpinLock(Irql);
    KeSetTimer(&Timer, Due, &Device->Dpc);
}

static VOID Done(PKDPC Dpc, PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    Irp = Device->CurrentIrp;
    IoStartNextPacket(Device, TRUE);
    UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    IoMarkIrpPending(Irp);
    IoStartPacket(Device, Irp, NULL, Cancel);
    return STATUS_PENDING;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    KeInitializeTimer(&Timer);
    IoInitializeDpcRequest(Driver->DeviceObject, Done);
    IoSetStartIoAttributes(Driver->DeviceObject, TRUE, FALSE);
    Driver->DriverStartIo = StartIo;
    Driver->DriverUnload = Unload;
    return Status;
}
