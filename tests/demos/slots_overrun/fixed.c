/* Two slots for parallel work of two callers and a helper; who finds none is told to come again. */
#include "ui_driver.h"

#define SLOTS 2

static ULONG *Table;
static KSPIN_LOCK Lock;
static BOOLEAN IsTaken[SLOTS];
static KEVENT Wake;
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

static BOOLEAN TakeSlot(LONG *Slot)
{
    KIRQL OldIrql;
    LONG i;

    KeAcquireSpinLock(&Lock, &OldIrql);
    for (i = 0; i < SLOTS && IsTaken[i]; i++) {
    }
    if (i < SLOTS) IsTaken[i] = TRUE;
    KeReleaseSpinLock(&Lock, OldIrql);
    *Slot = i;
    return i < SLOTS;
}

static VOID LeaveSlot(LONG Slot)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    IsTaken[Slot] = FALSE;
    KeReleaseSpinLock(&Lock, OldIrql);
}

static NTSTATUS WorkInSlot(VOID)
{
    LONG Slot;

    if (!TakeSlot(&Slot)) return STATUS_DEVICE_BUSY;
    InterlockedIncrement((volatile LONG *)&Table[Slot]);
    LeaveSlot(Slot);
    return STATUS_SUCCESS;
}

static VOID Helper(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        KeWaitForSingleObject(&Wake, Executive, KernelMode, FALSE, NULL);
        if (Stop) break;
        WorkInSlot();
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS Serve(VOID)
{
    KeSetEvent(&Wake, IO_NO_INCREMENT, FALSE);
    return WorkInSlot();
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
    ExFreePoolWithTag(Table, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    KeInitializeEvent(&Wake, SynchronizationEvent, FALSE);
    Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, SLOTS * sizeof(ULONG), UI_TAG);
    if (Table == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (NT_SUCCESS(Status)) {
        Driver->DriverUnload = Unload;
        Status = StartThread(Helper, NULL, &Thread);
        if (!NT_SUCCESS(Status)) UiUnload(Driver);
    }
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Table, UI_TAG);
    return Status;
}
