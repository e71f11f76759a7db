/* Each party needs two of four channels at a time; an auto-reset event says a channel is free. */
#include "ui_driver.h"

#define CHANNELS 4
#define HELPERS 2

static KEVENT IsFree[CHANNELS];
static KEVENT Wake[HELPERS];
static volatile LONG Turn;
static volatile LONG Stop;
static PVOID Threads[HELPERS];

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

/* Transfers in the background, at most once after each request. */
static VOID Background(PVOID Context)
{
    PKEVENT Mine = Context;

    for (;;) {
        KeWaitForSingleObject(Mine, Executive, KernelMode, FALSE, NULL);
        if (Stop) break;
        Transfer();
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID WakeHelpers(VOID)
{
    ULONG i;

    for (i = 0; i < HELPERS; i++) KeSetEvent(&Wake[i], IO_NO_INCREMENT, FALSE);
}

static VOID StopHelpers(VOID)
{
    ULONG i;

    InterlockedExchange(&Stop, 1);
    WakeHelpers();
    for (i = 0; i < HELPERS; i++) {
        if (Threads[i] == NULL) continue;
        KeWaitForSingleObject(Threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Threads[i]);
    }
}

static NTSTATUS Serve(VOID)
{
    WakeHelpers();
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
    StopHelpers();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    for (i = 0; i < CHANNELS; i++) KeInitializeEvent(&IsFree[i], SynchronizationEvent, TRUE);
    for (i = 0; i < HELPERS; i++) KeInitializeEvent(&Wake[i], SynchronizationEvent, FALSE);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    for (i = 0; i < HELPERS && NT_SUCCESS(Status); i++) {
        Status = StartThread(Background, &Wake[i], &Threads[i]);
    }
    if (!NT_SUCCESS(Status)) Unload(Driver);
    return Status;
}
