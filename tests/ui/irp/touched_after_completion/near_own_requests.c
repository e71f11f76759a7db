/* An upper device sends requests of its own to a lower one: writes that nobody waits for, reads
   that are waited for, and a control request of the I/O manager's making. */
#include "ui_driver.h"

#define IOCTL_SIZE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x881, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define STORE_SIZE 4096
#define CHUNK 1024
#define MAX_READ (4 * CHUNK)

typedef struct _COPY {
    PMDL Mdl;
    UCHAR Bytes[ANYSIZE_ARRAY];
} COPY, *PCOPY;

static PDEVICE_OBJECT Lower;
static UCHAR Store[STORE_SIZE];
static KSPIN_LOCK StoreLock;
static volatile LONG Outstanding = 1; /* one of the driver itself */
static KEVENT AllDone;

static VOID LeaveOutstanding(VOID)
{
    if (InterlockedDecrement(&Outstanding) == 0) KeSetEvent(&AllDone, IO_NO_INCREMENT, FALSE);
}

/* The lower device: direct I/O on a small store. */
static NTSTATUS LowerTransfer(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    LONGLONG Offset = Stack->Parameters.Read.ByteOffset.QuadPart;
    ULONG Length = Stack->Parameters.Read.Length;
    PUCHAR Bytes;
    KIRQL OldIrql;

    if (Offset < 0 || Offset > STORE_SIZE || Length > STORE_SIZE - (ULONG)Offset) {
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    if (Length == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    Bytes = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    if (Bytes == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    KeAcquireSpinLock(&StoreLock, &OldIrql);
    if (Stack->MajorFunction == IRP_MJ_READ) RtlCopyMemory(Bytes, Store + Offset, Length);
    else RtlCopyMemory(Store + Offset, Bytes, Length);
    KeReleaseSpinLock(&StoreLock, OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, Length);
}

static NTSTATUS LowerDispatch(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    switch (Stack->MajorFunction) {
    case IRP_MJ_READ:
    case IRP_MJ_WRITE:
        return LowerTransfer(Irp, Stack);
    case IRP_MJ_DEVICE_CONTROL:
        if (Stack->Parameters.DeviceIoControl.IoControlCode != IOCTL_SIZE) {
            return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
        }
        if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
            return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        *(PULONG)Irp->AssociatedIrp.SystemBuffer = STORE_SIZE;
        return UiComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static NTSTATUS WriteDone(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    PCOPY Copy = Context;

    UNREFERENCED_PARAMETER(Device);
    if (!NT_SUCCESS(Irp->IoStatus.Status)) DbgPrint("own: lost %x\n", Irp->IoStatus.Status);
    IoFreeMdl(Copy->Mdl);
    Irp->MdlAddress = NULL;
    IoFreeIrp(Irp);
    ExFreePoolWithTag(Copy, UI_TAG);
    LeaveOutstanding();
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Answered at once; the bytes are on their way in a copy. */
static NTSTATUS Write(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    ULONG Length = Stack->Parameters.Write.Length;
    PIO_STACK_LOCATION Next;
    PCOPY Copy;
    PIRP Own;

    if (Length == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    if (Length > STORE_SIZE) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Copy = ExAllocatePoolWithTag(NonPagedPoolNx, FIELD_OFFSET(COPY, Bytes) + Length, UI_TAG);
    if (Copy == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Copy->Mdl = IoAllocateMdl(Copy->Bytes, Length, FALSE, FALSE, NULL);
    Own = IoAllocateIrp(Lower->StackSize, FALSE);
    if (Copy->Mdl == NULL || Own == NULL) {
        if (Copy->Mdl != NULL) IoFreeMdl(Copy->Mdl);
        if (Own != NULL) IoFreeIrp(Own);
        ExFreePoolWithTag(Copy, UI_TAG);
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    MmBuildMdlForNonPagedPool(Copy->Mdl);
    RtlCopyMemory(Copy->Bytes, Irp->AssociatedIrp.SystemBuffer, Length);
    Own->MdlAddress = Copy->Mdl;
    Next = IoGetNextIrpStackLocation(Own);
    Next->MajorFunction = IRP_MJ_WRITE;
    Next->Parameters.Write.Length = Length;
    Next->Parameters.Write.ByteOffset = Stack->Parameters.Write.ByteOffset;
    IoSetCompletionRoutine(Own, WriteDone, Copy, TRUE, TRUE, TRUE);
    InterlockedIncrement(&Outstanding);
    IoCallDriver(Lower, Own);
    return UiComplete(Irp, STATUS_SUCCESS, Length);
}

static NTSTATUS ReadPartDone(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    PKEVENT Done = Context;
    PMDL Mdl;

    UNREFERENCED_PARAMETER(Device);
    while ((Mdl = Irp->MdlAddress) != NULL) {
        Irp->MdlAddress = Mdl->Next;
        MmUnlockPages(Mdl);
        IoFreeMdl(Mdl);
    }
    KeSetEvent(Done, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Reads through IoBuildAsynchronousFsdRequest into the system buffer, and waits for it. */
static NTSTATUS Read(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    ULONG Length = Stack->Parameters.Read.Length;
    NTSTATUS Status;
    ULONG_PTR Information;
    KEVENT Done;
    PIRP Own;

    if (Length == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    if (Length > MAX_READ) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Own = IoBuildAsynchronousFsdRequest(
        IRP_MJ_READ, Lower, Irp->AssociatedIrp.SystemBuffer, Length,
        &Stack->Parameters.Read.ByteOffset, NULL);
    if (Own == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    IoSetCompletionRoutine(Own, ReadPartDone, &Done, TRUE, TRUE, TRUE);
    IoCallDriver(Lower, Own);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    Status = Own->IoStatus.Status;
    Information = Own->IoStatus.Information;
    IoFreeIrp(Own);
    return UiComplete(Irp, Status, NT_SUCCESS(Status) ? Information : 0);
}

static NTSTATUS Control(PIRP Irp, PIO_STACK_LOCATION Stack)
{
    IO_STATUS_BLOCK IoStatus;
    NTSTATUS Status;
    ULONG Size;
    KEVENT Done;
    PIRP Own;

    if (Stack->Parameters.DeviceIoControl.IoControlCode != IOCTL_SIZE) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(Size)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    Own = IoBuildDeviceIoControlRequest(
        IOCTL_SIZE, Lower, NULL, 0, &Size, sizeof(Size), FALSE, &Done, &IoStatus);
    if (Own == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Status = IoCallDriver(Lower, Own);
    if (Status == STATUS_PENDING) {
        KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
        Status = IoStatus.Status;
    }
    if (!NT_SUCCESS(Status)) return UiComplete(Irp, Status, 0);
    *(PULONG)Irp->AssociatedIrp.SystemBuffer = Size;
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(Size));
}

static NTSTATUS Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);

    if (Device == Lower) return LowerDispatch(Irp, Stack);
    switch (Stack->MajorFunction) {
    case IRP_MJ_WRITE: return Write(Irp, Stack);
    case IRP_MJ_READ: return Read(Irp, Stack);
    default: return Control(Irp, Stack);
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    LeaveOutstanding();
    KeWaitForSingleObject(&AllDone, Executive, KernelMode, FALSE, NULL);
    IoDeleteSymbolicLink(&Link);
    while (Driver->DeviceObject != NULL) IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&StoreLock);
    KeInitializeEvent(&AllDone, NotificationEvent, FALSE);
    Status = IoCreateDevice(
        Driver, 0, NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Lower);
    if (!NT_SUCCESS(Status)) return Status;
    Lower->Flags |= DO_DIRECT_IO;
    Status = UiStart(Driver, Dispatch);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Lower);
        return Status;
    }
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    Driver->DeviceObject->StackSize = Lower->StackSize + 1;
    Driver->MajorFunction[IRP_MJ_READ] = Dispatch;
    Driver->MajorFunction[IRP_MJ_WRITE] = Dispatch;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
