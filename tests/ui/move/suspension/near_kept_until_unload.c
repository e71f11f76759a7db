// Nobody frees a block while others may use it: old ones are kept until the unload.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
typedef struct BLOCK {
    ULONG Value;
    struct BLOCK *Older;
} BLOCK;

static BLOCK *Slot;

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    BLOCK *Block;
    ULONG Value = 0;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &Irql);
    Block = Slot;
    KeReleaseSpinLock(&Lock, Irql);
    if (Block) Value = *(volatile ULONG *)&Block->Value;
    return UiComplete(Irp, Value == 7 ? STATUS_SUCCESS : STATUS_DEVICE_NOT_READY, 0);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    BLOCK *Block;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    Block = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Block), UI_TAG);
    if (!Block) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Block->Value = 7;
    KeAcquireSpinLock(&Lock, &Irql);
    Block->Older = Slot;
    Slot = Block;
    KeReleaseSpinLock(&Lock, Irql);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    while (Slot) {
        BLOCK *Older = Slot->Older;
        ExFreePoolWithTag(Slot, UI_TAG);
        Slot = Older;
    }
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Slot = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Slot), UI_TAG);
    if (!Slot) return STATUS_INSUFFICIENT_RESOURCES;
    Slot->Value = 7;
    Slot->Older = NULL;
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
