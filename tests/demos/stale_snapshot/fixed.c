/* The device has a name that a write replaces and a read returns. */
#include "ui_driver.h"

#define MAX_BYTES 32

typedef struct _NAME {
    ULONG Bytes;
    UCHAR Text[MAX_BYTES];
} NAME;

static KSPIN_LOCK Lock;
static NAME *Current;

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;
    NAME *New;
    NAME *Old;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    if (Bytes == 0 || Bytes > MAX_BYTES) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(NAME), UI_TAG);
    if (New == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    New->Bytes = Bytes;
    RtlCopyMemory(New->Text, Irp->AssociatedIrp.SystemBuffer, Bytes);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Old = Current;
    Current = New;
    KeReleaseSpinLock(&Lock, OldIrql);
    ExFreePoolWithTag(Old, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    NAME *Name;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    if (Bytes == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    KeAcquireSpinLock(&Lock, &OldIrql);
    Name = Current;
    if (Bytes > Name->Bytes) Bytes = Name->Bytes;
    RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, Name->Text, Bytes);
    KeReleaseSpinLock(&Lock, OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExFreePoolWithTag(Current, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Current = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(NAME), UI_TAG);
    if (Current == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(Current, UI_TAG);
        return Status;
    }
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
