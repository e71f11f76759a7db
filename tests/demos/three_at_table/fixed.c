/* Each party needs two of three channels at a time; an auto-reset event says a channel is free. */
#include "ui_driver.h"

#define CHANNELS 3

static KEVENT IsFree[CHANNELS];
static KEVENT Wake;
static volatile LONG Turn;
static volatile LONG Stop;
static PVOID Thread;

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

static VOID Take(ULONG Channel)
{
    KeWaitForSingleObject(&IsFree[Channel], Executive, KernelMode, FALSE, NULL);
}

static VOID Transfer(VOID)
{
    ULONG From = (ULONG)InterlockedIncrement(&Turn) % CHANNELS;
    ULONG To = (From + 1) % CHANNELS;

    Take(min(From, To));
    Take(max(From, To));
    KeSetEvent(&IsFree[From], IO_NO_INCREMENT, FALSE);
    KeSetEvent(&IsFree[To], IO_NO_INCREMENT, FALSE);
}

/* Transfers in the background, once after each request at most. */
static VOID Background(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        KeWaitForSingleObject(&Wake, Executive, KernelMode, FALSE, NULL);
        if (Stop) break;
        Transfer();
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS Serve(VOID)
{
    KeSetEvent(&Wake, IO_NO_INCREMENT, FALSE);
    Transfer();
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
    InterlockedExchange(&Stop, 1);
    KeSetEvent(&Wake, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    for (i = 0; i < CHANNELS; i++) KeInitializeEvent(&IsFree[i], SynchronizationEvent, TRUE);
    KeInitializeEvent(&Wake, SynchronizationEvent, FALSE);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Status = StartThread(Background, NULL, &Thread);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    return Status;
}
