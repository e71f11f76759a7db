//@depth: 1
//@expect: bug_check::raised, memory::use_after_free, pool::double_free, race::lost_update
//@bug: Insertions hold one lock, removals another one, and both change the same list.
/* A pipe of messages: a write puts its bytes in, a read takes the oldest message out. */
#include "ui_driver.h"

#define MAX_BYTES 64
#define MAX_MESSAGES 32

typedef struct _MESSAGE {
    LIST_ENTRY Link;
    ULONG Bytes;
    UCHAR Data[MAX_BYTES];
} MESSAGE;

static KSPIN_LOCK WriteLock;
static KSPIN_LOCK ReadLock;
static LIST_ENTRY Messages;
static volatile LONG Count;

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;
    MESSAGE *Message;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    if (Bytes == 0 || Bytes > MAX_BYTES) return UiComplete(Irp, STATUS_INVALID_BUFFER_SIZE, 0);
    if (InterlockedIncrement(&Count) > MAX_MESSAGES) {
        InterlockedDecrement(&Count);
        return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    }
    Message = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(MESSAGE), UI_TAG);
    if (Message == NULL) {
        InterlockedDecrement(&Count);
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Message->Bytes = Bytes;
    RtlCopyMemory(Message->Data, Irp->AssociatedIrp.SystemBuffer, Bytes);
    KeAcquireSpinLock(&WriteLock, &OldIrql);
    InsertTailList(&Messages, &Message->Link);
    KeReleaseSpinLock(&WriteLock, OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

static MESSAGE *Take(VOID)
{
    MESSAGE *Message = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&ReadLock, &OldIrql);
    if (!IsListEmpty(&Messages)) {
        Message = CONTAINING_RECORD(RemoveHeadList(&Messages), MESSAGE, Link);
    }
    KeReleaseSpinLock(&ReadLock, OldIrql);
    return Message;
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    MESSAGE *Message = Take();

    UNREFERENCED_PARAMETER(Device);
    if (Message == NULL) return UiComplete(Irp, STATUS_SUCCESS, 0);
    InterlockedDecrement(&Count);
    if (Bytes > Message->Bytes) Bytes = Message->Bytes;
    if (Bytes != 0) RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, Message->Data, Bytes);
    ExFreePoolWithTag(Message, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    MESSAGE *Message;

    while ((Message = Take()) != NULL) ExFreePoolWithTag(Message, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&WriteLock);
    KeInitializeSpinLock(&ReadLock);
    InitializeListHead(&Messages);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
