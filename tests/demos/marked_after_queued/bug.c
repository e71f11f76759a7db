//@depth: 1
//@expect: irp::touched_after_completion, irp::pending_not_marked, memory::use_after_free
//@bug: The request is marked pending after the worker thread may already have completed it.
/* A worker thread answers control requests in the order in which they came. */
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static LIST_ENTRY Queue;
static KSEMAPHORE Ready;
static PVOID Thread;
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

static VOID Worker(PVOID Context)
{
    PLIST_ENTRY Entry;

    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        KeWaitForSingleObject(&Ready, Executive, KernelMode, FALSE, NULL);
        if (Stop) break;
        Entry = ExInterlockedRemoveHeadList(&Queue, &Lock);
        UiComplete(CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry), STATUS_SUCCESS, 0);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    ExInterlockedInsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry, &Lock);
    KeReleaseSemaphore(&Ready, IO_NO_INCREMENT, 1, FALSE);
    IoMarkIrpPending(Irp);
    return STATUS_PENDING;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    InterlockedExchange(&Stop, 1);
    KeReleaseSemaphore(&Ready, IO_NO_INCREMENT, 1, FALSE);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Queue);
    KeInitializeSemaphore(&Ready, 0, MAXLONG);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Status = StartThread(Worker, NULL, &Thread);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    return Status;
}
