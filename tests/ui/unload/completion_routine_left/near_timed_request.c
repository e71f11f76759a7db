/* The upper device asks the lower one and waits 20 ms; then it cancels its request and waits for
   the end of it. The lower one answers only when told, or when the request is cancelled. */
#include "ui_driver.h"

#define IOCTL_ASK CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8A0, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_TELL CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8A1, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_INTERNAL_GET CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8A2, METHOD_BUFFERED, FILE_ANY_ACCESS)

static PDEVICE_OBJECT Lower;
static KSPIN_LOCK Lock;
static LIST_ENTRY Waiting;

static VOID CancelWaiting(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KeAcquireSpinLock(&Lock, &OldIrql);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Lock, OldIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS LowerDispatch(PIRP Irp)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    IoSetCancelRoutine(Irp, CancelWaiting);
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        KeReleaseSpinLock(&Lock, OldIrql);
        return UiComplete(Irp, STATUS_CANCELLED, 0);
    }
    IoMarkIrpPending(Irp);
    InsertTailList(&Waiting, &Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Lock, OldIrql);
    return STATUS_PENDING;
}

static VOID Tell(ULONG Answer)
{
    KIRQL OldIrql;
    PIRP Irp = NULL;
    PLIST_ENTRY Entry;

    KeAcquireSpinLock(&Lock, &OldIrql);
    for (Entry = Waiting.Flink; Entry != &Waiting; Entry = Entry->Flink) {
        PIRP This = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);

        if (IoSetCancelRoutine(This, NULL) == NULL) continue; /* left to its cancel routine */
        RemoveEntryList(Entry);
        Irp = This;
        break;
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    if (Irp == NULL) return;
    *(PULONG)Irp->AssociatedIrp.SystemBuffer = Answer;
    UiComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
}

static NTSTATUS AskDone(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS Ask(PULONG Answer)
{
    PIO_STACK_LOCATION Next;
    LARGE_INTEGER Timeout;
    NTSTATUS Status;
    PULONG Block;
    KEVENT Done;
    PIRP Own;

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Block), UI_TAG);
    if (Block == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Own = IoAllocateIrp(Lower->StackSize, FALSE);
    if (Own == NULL) {
        ExFreePoolWithTag(Block, UI_TAG);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeEvent(&Done, SynchronizationEvent, FALSE);
    Own->AssociatedIrp.SystemBuffer = Block;
    Next = IoGetNextIrpStackLocation(Own);
    Next->MajorFunction = IRP_MJ_INTERNAL_DEVICE_CONTROL;
    Next->Parameters.DeviceIoControl.IoControlCode = IOCTL_INTERNAL_GET;
    Next->Parameters.DeviceIoControl.OutputBufferLength = sizeof(*Block);
    IoSetCompletionRoutine(Own, AskDone, &Done, TRUE, TRUE, TRUE);
    IoCallDriver(Lower, Own);
    Timeout.QuadPart = -20 * 10000;
    Status = KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, &Timeout);
    if (Status == STATUS_TIMEOUT) {
        IoCancelIrp(Own);
        KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    }
    Status = Own->IoStatus.Status;
    if (NT_SUCCESS(Status)) *Answer = *Block;
    IoFreeIrp(Own);
    ExFreePoolWithTag(Block, UI_TAG);
    return Status;
}

static NTSTATUS Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PULONG Buffer = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS Status;

    if (Device == Lower) return LowerDispatch(Irp);
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_ASK:
        if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
            return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        Status = Ask(Buffer);
        return UiComplete(Irp, Status, NT_SUCCESS(Status) ? sizeof(ULONG) : 0);
    case IOCTL_TELL:
        if (Stack->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        Tell(*Buffer);
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    IoDeleteSymbolicLink(&Link);
    while (Driver->DeviceObject != NULL) IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Waiting);
    Status = IoCreateDevice(
        Driver, 0, NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Lower);
    if (!NT_SUCCESS(Status)) return Status;
    Status = UiStart(Driver, Dispatch);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Lower);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_INTERNAL_DEVICE_CONTROL] = Dispatch;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
