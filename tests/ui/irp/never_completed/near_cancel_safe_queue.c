// Requests wait in a cancel-safe queue; cleanup takes out those of its file.
#include "ui_driver.h"

static IO_CSQ Csq;
static LIST_ENTRY Queue;
static KSPIN_LOCK Lock;

static VOID NTAPI Insert(PIO_CSQ This, PIRP Irp)
{
    UNREFERENCED_PARAMETER(This);
    InsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry);
}

static VOID NTAPI Remove(PIO_CSQ This, PIRP Irp)
{
    UNREFERENCED_PARAMETER(This);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP NTAPI PeekNext(PIO_CSQ This, PIRP Irp, PVOID File)
{
    PLIST_ENTRY Entry = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Queue.Flink;

    UNREFERENCED_PARAMETER(This);
    for (; Entry != &Queue; Entry = Entry->Flink) {
        PIRP Next = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (!File || IoGetCurrentIrpStackLocation(Next)->FileObject == File) return Next;
    }
    return NULL;
}

static VOID NTAPI Acquire(PIO_CSQ This, PKIRQL Irql)
{
    UNREFERENCED_PARAMETER(This);
    KeAcquireSpinLock(&Lock, Irql);
}

static VOID NTAPI Release(PIO_CSQ This, KIRQL Irql)
{
    UNREFERENCED_PARAMETER(This);
    KeReleaseSpinLock(&Lock, Irql);
}

static VOID NTAPI CompleteCanceled(PIO_CSQ This, PIRP Irp)
{
    UNREFERENCED_PARAMETER(This);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Old;

    UNREFERENCED_PARAMETER(Device);
    Old = IoCsqRemoveNextIrp(&Csq, NULL);
    if (Old) UiComplete(Old, STATUS_SUCCESS, 0);
    IoCsqInsertIrp(&Csq, Irp, NULL);
    return STATUS_PENDING;
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    PIRP Old;

    UNREFERENCED_PARAMETER(Device);
    while ((Old = IoCsqRemoveNextIrp(&Csq, File)) != NULL) UiComplete(Old, STATUS_CANCELLED, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    InitializeListHead(&Queue);
    KeInitializeSpinLock(&Lock);
    IoCsqInitialize(&Csq, Insert, Remove, PeekNext, Acquire, Release, CompleteCanceled);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
