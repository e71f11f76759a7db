/* Two threads count wake-ups in a context that they share. */
#include "ui_driver.h"

typedef struct _SHARED {
    KEVENT Wake;
    KEVENT Ended;
    volatile LONG Stop;
    volatile LONG Count;
} SHARED;

static SHARED *Shared;
static PVOID Threads[2];

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

static VOID Count(PVOID Context)
{
    SHARED *Self = Context;

    for (;;) {
        KeWaitForSingleObject(&Self->Wake, Executive, KernelMode, FALSE, NULL);
        if (Self->Stop) break;
        InterlockedIncrement(&Self->Count);
    }
    KeSetEvent(&Self->Wake, IO_NO_INCREMENT, FALSE);
    KeSetEvent(&Self->Ended, IO_NO_INCREMENT, FALSE);
    InterlockedDecrement(&Self->Count);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID WaitForThread(PVOID Thread)
{
    if (Thread == NULL) return;
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
}

static VOID StopThreads(VOID)
{
    InterlockedExchange(&Shared->Stop, 1);
    KeSetEvent(&Shared->Wake, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS Serve(VOID)
{
    KeSetEvent(&Shared->Wake, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Serve(), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    StopThreads();
    WaitForThread(Threads[0]);
    WaitForThread(Threads[1]);
    ExFreePoolWithTag(Shared, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Shared = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SHARED), UI_TAG);
    if (Shared == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeEvent(&Shared->Wake, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Shared->Ended, NotificationEvent, FALSE);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(Shared, UI_TAG);
        return Status;
    }
    Driver->DriverUnload = Unload;
    Status = StartThread(Count, Shared, &Threads[0]);
    if (NT_SUCCESS(Status)) Status = StartThread(Count, Shared, &Threads[1]);
    if (!NT_SUCCESS(Status)) {
        StopThreads();
        WaitForThread(Threads[0]);
        ExFreePoolWithTag(Shared, UI_TAG);
        UiUnload(Driver);
    }
    return Status;
}
