// Who reads holds the lock only until it has the pointer; who replaces the block frees the old one.
//@needs: suspension
//@args: --strategy friendly --strategy failures
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static PULONG Slot;

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    PULONG Block;
    ULONG Value = 0;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &Irql);
    Block = Slot;
    KeReleaseSpinLock(&Lock, Irql);
    if (Block) Value = *(volatile ULONG *)Block; //~ memory::use_after_free
    return UiComplete(Irp, Value == 7 ? STATUS_SUCCESS : STATUS_DEVICE_NOT_READY, 0);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    PULONG Block, Old;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    Block = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Block), UI_TAG);
    if (!Block) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    *Block = 7;
    KeAcquireSpinLock(&Lock, &Irql);
    Old = Slot;
    Slot = Block;
    KeReleaseSpinLock(&Lock, Irql);
    if (Old) ExFreePoolWithTag(Old, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Slot) ExFreePoolWithTag(Slot, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Slot = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Slot), UI_TAG);
    if (!Slot) return STATUS_INSUFFICIENT_RESOURCES;
    *Slot = 7;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(Slot, UI_TAG);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
