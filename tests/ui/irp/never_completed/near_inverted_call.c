/* Listeners leave requests here; an event posted by anybody answers all of them. What comes when
   nobody listens is kept, up to a bound. */
#include "ui_driver.h"

#define IOCTL_LISTEN CTL_CODE(FILE_DEVICE_UNKNOWN, 0x841, METHOD_BUFFERED, FILE_READ_ACCESS)
#define IOCTL_POST CTL_CODE(FILE_DEVICE_UNKNOWN, 0x842, METHOD_BUFFERED, FILE_WRITE_ACCESS)
#define MAX_LISTENERS 16
#define MAX_KEPT 8

typedef struct _NOTE {
    ULONG Sequence;
    ULONG Code;
} NOTE, *PNOTE;

typedef struct _HUB {
    IO_CSQ Csq;
    KSPIN_LOCK Lock; /* all that follows */
    LIST_ENTRY Listeners;
    ULONG ListenerCount;
    ULONG Sequence;
    ULONG FirstKept, KeptCount;
    NOTE Kept[MAX_KEPT];
} HUB, *PHUB;

static NTSTATUS CsqInsertEx(PIO_CSQ Csq, PIRP Irp, PVOID InsertContext)
{
    PHUB Hub = CONTAINING_RECORD(Csq, HUB, Csq);
    PNOTE Note = InsertContext;

    if (Hub->KeptCount > 0) { /* no need to wait */
        *Note = Hub->Kept[Hub->FirstKept];
        Hub->FirstKept = (Hub->FirstKept + 1) % MAX_KEPT;
        Hub->KeptCount--;
        return STATUS_ALREADY_COMMITTED;
    }
    if (Hub->ListenerCount >= MAX_LISTENERS) return STATUS_QUOTA_EXCEEDED;
    InsertTailList(&Hub->Listeners, &Irp->Tail.Overlay.ListEntry);
    Hub->ListenerCount++;
    return STATUS_SUCCESS;
}

static VOID CsqRemove(PIO_CSQ Csq, PIRP Irp)
{
    CONTAINING_RECORD(Csq, HUB, Csq)->ListenerCount--;
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP CsqPeek(PIO_CSQ Csq, PIRP Irp, PVOID File)
{
    PHUB Hub = CONTAINING_RECORD(Csq, HUB, Csq);
    PLIST_ENTRY Entry = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Hub->Listeners.Flink;

    for (; Entry != &Hub->Listeners; Entry = Entry->Flink) {
        PIRP Next = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);

        if (File == NULL || IoGetCurrentIrpStackLocation(Next)->FileObject == File) return Next;
    }
    return NULL;
}

static VOID CsqAcquire(PIO_CSQ Csq, PKIRQL Irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, HUB, Csq)->Lock, Irql);
}

static VOID CsqRelease(PIO_CSQ Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, HUB, Csq)->Lock, Irql);
}

static VOID CsqCompleteCanceled(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static VOID Answer(PIRP Irp, const NOTE *Note)
{
    *(PNOTE)Irp->AssociatedIrp.SystemBuffer = *Note;
    UiComplete(Irp, STATUS_SUCCESS, sizeof(*Note));
}

static NTSTATUS Listen(PHUB Hub, PIRP Irp)
{
    NOTE Note;
    NTSTATUS Status = IoCsqInsertIrpEx(&Hub->Csq, Irp, NULL, &Note);

    if (Status == STATUS_SUCCESS) return STATUS_PENDING;
    /* Not inserted; IoCsqInsertIrpEx may have marked it, so it is answered as a pending one. */
    IoMarkIrpPending(Irp);
    if (Status == STATUS_ALREADY_COMMITTED) Answer(Irp, &Note);
    else UiComplete(Irp, Status, 0);
    return STATUS_PENDING;
}

static VOID Post(PHUB Hub, ULONG Code)
{
    BOOLEAN Heard = FALSE;
    KIRQL OldIrql;
    NOTE Note;
    PIRP Irp;

    KeAcquireSpinLock(&Hub->Lock, &OldIrql);
    Note.Sequence = ++Hub->Sequence;
    KeReleaseSpinLock(&Hub->Lock, OldIrql);
    Note.Code = Code;
    while ((Irp = IoCsqRemoveNextIrp(&Hub->Csq, NULL)) != NULL) {
        Answer(Irp, &Note);
        Heard = TRUE;
    }
    if (Heard) return;
    KeAcquireSpinLock(&Hub->Lock, &OldIrql);
    if (Hub->KeptCount < MAX_KEPT) {
        Hub->Kept[(Hub->FirstKept + Hub->KeptCount++) % MAX_KEPT] = Note;
    }
    KeReleaseSpinLock(&Hub->Lock, OldIrql);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PHUB Hub = Device->DeviceExtension;
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);

    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_LISTEN:
        if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(NOTE)) {
            return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        return Listen(Hub, Irp);
    case IOCTL_POST:
        if (Stack->Parameters.DeviceIoControl.InputBufferLength != sizeof(ULONG)) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        Post(Hub, *(PULONG)Irp->AssociatedIrp.SystemBuffer);
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    PHUB Hub = Device->DeviceExtension;
    PVOID File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    PIRP Pending;

    while ((Pending = IoCsqRemoveNextIrp(&Hub->Csq, File)) != NULL) {
        UiComplete(Pending, STATUS_CANCELLED, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;
    PHUB Hub;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(
        Driver, sizeof(HUB), &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Hub = Device->DeviceExtension;
    RtlZeroMemory(Hub, sizeof(*Hub));
    KeInitializeSpinLock(&Hub->Lock);
    InitializeListHead(&Hub->Listeners);
    Status = IoCsqInitializeEx(
        &Hub->Csq, CsqInsertEx, CsqRemove, CsqPeek, CsqAcquire, CsqRelease, CsqCompleteCanceled);
    if (NT_SUCCESS(Status)) Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    Driver->DriverUnload = UiUnload;
    return STATUS_SUCCESS;
}
