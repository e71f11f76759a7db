//@depth: 1
//@expect: bug_check::raised, memory::use_after_free, unload::work_item_left, pool::leaked_at_unload
//@bug: Unload waits for the work item first and stops the timer, whose DPC queues it, after that.
/* A timer has a work item write a report every 2 ms, unless the last one is not written yet. */
#include "ui_driver.h"

#define PERIOD_MS 2

static KTIMER Timer;
static KDPC Dpc;
static PIO_WORKITEM Item;
static KEVENT Idle;
static volatile LONG IsBusy;
static ULONG64 *Reports;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    ++*Reports;
    /* In this order: from the exchange on the DPC may clear the event again. */
    KeSetEvent(&Idle, IO_NO_INCREMENT, FALSE);
    InterlockedExchange(&IsBusy, 0);
}

static VOID OnTimer(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    if (InterlockedCompareExchange(&IsBusy, 1, 0) != 0) return;
    KeClearEvent(&Idle);
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, NULL);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Due.QuadPart = -10000LL * PERIOD_MS;
    KeSetTimerEx(&Timer, Due, PERIOD_MS, &Dpc);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeWaitForSingleObject(&Idle, Executive, KernelMode, FALSE, NULL);
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    IoFreeWorkItem(Item);
    ExFreePoolWithTag(Reports, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, OnTimer, NULL);
    KeInitializeEvent(&Idle, NotificationEvent, TRUE);
    Reports = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Reports), UI_TAG);
    if (Reports == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(Reports, UI_TAG);
        return Status;
    }
    Driver->DriverUnload = Unload;
    Item = IoAllocateWorkItem(Driver->DeviceObject);
    if (Item == NULL) {
        UiUnload(Driver);
        ExFreePoolWithTag(Reports, UI_TAG);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}
