/* Writes wait in a list of the driver's own, with cancel routines, for a system thread that adds
   them up; the thread ends before the driver is unloaded. */
#include "ui_driver.h"

NTSYSAPI NTSTATUS NTAPI ZwWaitForSingleObject(
    HANDLE Handle, BOOLEAN Alertable, PLARGE_INTEGER Timeout);

typedef struct _ADDER {
    KSPIN_LOCK Lock;
    LIST_ENTRY Queue;
    KSEMAPHORE Work; /* one unit per request put into the queue */
    KEVENT Stop;
    PKTHREAD Thread;
    ULONG Sum; /* the thread's own */
    volatile ULONG LastSum;
} ADDER, *PADDER;

static VOID CancelQueued(PDEVICE_OBJECT Device, PIRP Irp)
{
    PADDER Adder = Device->DeviceExtension;

    IoReleaseCancelSpinLock(DISPATCH_LEVEL);
    KeAcquireSpinLockAtDpcLevel(&Adder->Lock);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Adder->Lock, Irp->CancelIrql);
    UiComplete(Irp, STATUS_CANCELLED, 0);
}

static PIRP TakeRequest(PADDER Adder)
{
    PIRP Irp = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Adder->Lock, &OldIrql);
    while (!IsListEmpty(&Adder->Queue)) {
        PLIST_ENTRY Entry = RemoveHeadList(&Adder->Queue);

        Irp = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (IoSetCancelRoutine(Irp, NULL) != NULL) break;
        /* The cancel routine is on its way and waits for the lock; it unlinks an empty entry. */
        InitializeListHead(Entry);
        Irp = NULL;
    }
    KeReleaseSpinLock(&Adder->Lock, OldIrql);
    return Irp;
}

static VOID Worker(PVOID Context)
{
    PADDER Adder = Context;
    PVOID Objects[2] = { &Adder->Stop, &Adder->Work };

    KeSetPriorityThread(KeGetCurrentThread(), LOW_REALTIME_PRIORITY);
    while (KeWaitForMultipleObjects(
               2, Objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL) == STATUS_WAIT_1) {
        PIRP Irp = TakeRequest(Adder);
        PIO_STACK_LOCATION Stack;
        PUCHAR Bytes;
        ULONG i;

        if (Irp == NULL) continue; /* cancelled */
        Stack = IoGetCurrentIrpStackLocation(Irp);
        Bytes = Irp->AssociatedIrp.SystemBuffer;
        for (i = 0; i < Stack->Parameters.Write.Length; i++) Adder->Sum += Bytes[i];
        Adder->LastSum = Adder->Sum;
        UiComplete(Irp, STATUS_SUCCESS, Stack->Parameters.Write.Length);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    PADDER Adder = Device->DeviceExtension;
    KIRQL OldIrql;

    IoMarkIrpPending(Irp);
    KeAcquireSpinLock(&Adder->Lock, &OldIrql);
    IoSetCancelRoutine(Irp, CancelQueued);
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        KeReleaseSpinLock(&Adder->Lock, OldIrql);
        UiComplete(Irp, STATUS_CANCELLED, 0);
        return STATUS_PENDING;
    }
    /* If the cancel routine runs already, it waits for the lock and finds the entry in the list. */
    InsertTailList(&Adder->Queue, &Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Adder->Lock, OldIrql);
    KeReleaseSemaphore(&Adder->Work, IO_NO_INCREMENT, 1, FALSE);
    return STATUS_PENDING;
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    PADDER Adder = Device->DeviceExtension;
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    LIST_ENTRY Mine;
    PLIST_ENTRY Entry, Next;
    KIRQL OldIrql;

    InitializeListHead(&Mine);
    KeAcquireSpinLock(&Adder->Lock, &OldIrql);
    for (Entry = Adder->Queue.Flink; Entry != &Adder->Queue; Entry = Next) {
        PIRP Pending = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);

        Next = Entry->Flink;
        if (IoGetCurrentIrpStackLocation(Pending)->FileObject != File) continue;
        if (IoSetCancelRoutine(Pending, NULL) == NULL) continue; /* its cancel routine has it */
        RemoveEntryList(Entry);
        InsertTailList(&Mine, Entry);
    }
    KeReleaseSpinLock(&Adder->Lock, OldIrql);
    while (!IsListEmpty(&Mine)) {
        Entry = RemoveHeadList(&Mine);
        UiComplete(
            CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry), STATUS_CANCELLED, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PADDER Adder = Device->DeviceExtension;
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);

    if (Stack->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    *(PULONG)Irp->AssociatedIrp.SystemBuffer = Adder->LastSum;
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
}

static NTSTATUS StartThread(PADDER Adder)
{
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Handle;
    NTSTATUS Status;

    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = PsCreateSystemThread(
        &Handle, THREAD_ALL_ACCESS, &Attributes, NULL, NULL, Worker, Adder);
    if (!NT_SUCCESS(Status)) return Status;
    Status = ObReferenceObjectByHandle(
        Handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, (PVOID *)&Adder->Thread, NULL);
    if (!NT_SUCCESS(Status)) {
        KeSetEvent(&Adder->Stop, IO_NO_INCREMENT, FALSE);
        ZwWaitForSingleObject(Handle, FALSE, NULL);
    }
    ZwClose(Handle);
    return Status;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    PADDER Adder = Driver->DeviceObject->DeviceExtension;

    KeSetEvent(&Adder->Stop, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Adder->Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Adder->Thread);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    PADDER Adder;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(
        Driver, sizeof(ADDER), &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Device->Flags |= DO_BUFFERED_IO;
    Adder = Device->DeviceExtension;
    KeInitializeSpinLock(&Adder->Lock);
    InitializeListHead(&Adder->Queue);
    KeInitializeSemaphore(&Adder->Work, 0, MAXLONG);
    KeInitializeEvent(&Adder->Stop, NotificationEvent, FALSE);
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) goto NoLink;
    Status = StartThread(Adder);
    if (!NT_SUCCESS(Status)) goto NoThread;
    Driver->MajorFunction[IRP_MJ_CREATE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;

NoThread:
    IoDeleteSymbolicLink(&Link);
NoLink:
    IoDeleteDevice(Device);
    return Status;
}
