/* Two worker threads with a queue each; requests go to them in turn. */
#include "ui_driver.h"

#define WORKERS 2

typedef struct _WORKER {
    LIST_ENTRY Queue;
    PVOID Thread;
    KEVENT Wake;
} WORKER;

static WORKER Workers[WORKERS];
static KSPIN_LOCK Lock;
static volatile LONG Turn;
static volatile LONG Stop;

static NTSTATUS StartThread(PKSTART_ROUTINE Routine, PVOID Context, PVOID *Thread)
{
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Handle;
    NTSTATUS Status;

    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = PsCreateSystemThread(
        &Handle, THREAD_ALL_ACCESS, &Attributes, NULL, NULL, Routine, Context);
    if (!NT_SUCCESS(Status)) return Status;
    /* The handle is a fresh one of the kernel, for every access. */
    ObReferenceObjectByHandle(
        Handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, Thread, NULL);
    ZwClose(Handle);
    return STATUS_SUCCESS;
}

static VOID Work(PVOID Context)
{
    WORKER *Self = Context;
    PKEVENT Mine = &Self->Wake;
    PLIST_ENTRY Entry;

    while (!Stop) {
        KeClearEvent(Mine);
        while ((Entry = ExInterlockedRemoveHeadList(&Self->Queue, &Lock)) != NULL) {
            UiComplete(CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry), STATUS_SUCCESS, 0);
        }
        if (!Stop) KeWaitForSingleObject(Mine, Executive, KernelMode, FALSE, NULL);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    WORKER *Worker;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Worker = &Workers[(ULONG)InterlockedIncrement(&Turn) % WORKERS];
    IoMarkIrpPending(Irp);
    ExInterlockedInsertTailList(&Worker->Queue, &Irp->Tail.Overlay.ListEntry, &Lock);
    KeSetEvent(&Worker->Wake, IO_NO_INCREMENT, FALSE);
    return STATUS_PENDING;
}

static VOID StopWorkers(VOID)
{
    ULONG i;

    InterlockedExchange(&Stop, 1);
    for (i = 0; i < WORKERS; i++) {
        if (Workers[i].Thread == NULL) continue;
        KeSetEvent(&Workers[i].Wake, IO_NO_INCREMENT, FALSE);
        KeWaitForSingleObject(Workers[i].Thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Workers[i].Thread);
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    StopWorkers();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    for (i = 0; i < WORKERS && NT_SUCCESS(Status); i++) {
        InitializeListHead(&Workers[i].Queue);
        KeInitializeEvent(&Workers[i].Wake, NotificationEvent, FALSE);
        Status = StartThread(Work, &Workers[i], &Workers[i].Thread);
    }
    if (!NT_SUCCESS(Status)) Unload(Driver);
    return Status;
}
