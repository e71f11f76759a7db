// A thread of the file completes its requests; the close, sent when the last of them is complete,
// stops the thread and waits for its end. No close is sent within IoCompleteRequest.
#include "ui_driver.h"

typedef struct {
    PVOID Thread;
    KSEMAPHORE Work;
    KSPIN_LOCK Lock;
    LIST_ENTRY Requests;
} FILE_CONTEXT;

static KSTART_ROUTINE Serve;

static VOID NTAPI Serve(PVOID Context)
{
    FILE_CONTEXT *File = Context;
    PLIST_ENTRY Entry;

    for (;;) {
        KeWaitForSingleObject(&File->Work, Executive, KernelMode, FALSE, NULL);
        Entry = ExInterlockedRemoveHeadList(&File->Requests, &File->Lock);
        if (!Entry) return; // only the close releases the semaphore without a request
        UiComplete(CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry), STATUS_SUCCESS, 0);
    }
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    FILE_CONTEXT *File = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*File), UI_TAG);
    OBJECT_ATTRIBUTES Attributes;
    NTSTATUS Status;
    HANDLE Handle;

    UNREFERENCED_PARAMETER(Device);
    if (!File) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    KeInitializeSemaphore(&File->Work, 0, MAXLONG);
    KeInitializeSpinLock(&File->Lock);
    InitializeListHead(&File->Requests);
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = PsCreateSystemThread(&Handle, SYNCHRONIZE, &Attributes, NULL, NULL, Serve, File);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(File, UI_TAG);
        return UiComplete(Irp, Status, 0);
    }
    ObReferenceObjectByHandle(
        Handle, SYNCHRONIZE, *PsThreadType, KernelMode, &File->Thread, NULL);
    ZwClose(Handle);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = File;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    FILE_CONTEXT *File = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    ExInterlockedInsertTailList(&File->Requests, &Irp->Tail.Overlay.ListEntry, &File->Lock);
    KeReleaseSemaphore(&File->Work, IO_NO_INCREMENT, 1, FALSE);
    return STATUS_PENDING;
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    FILE_CONTEXT *File = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    KeReleaseSemaphore(&File->Work, IO_NO_INCREMENT, 1, FALSE);
    KeWaitForSingleObject(File->Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(File->Thread);
    ExFreePoolWithTag(File, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return STATUS_SUCCESS;
}
