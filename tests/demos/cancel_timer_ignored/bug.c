//@depth: 1
//@expect: memory::use_after_free, dpc::gone_while_queued
//@bug: The request frees its timer's context although the timer's DPC may still be running.
/* Each request looks after 2 ms how many ticks its own timer of 1 ms has made. */
#include "ui_driver.h"

typedef struct _WATCH {
    KTIMER Timer;
    KDPC Dpc;
    volatile LONG Ticks;
    LONG64 Sums[8];
} WATCH;

static VOID OnTimer(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    WATCH *Watch = Context;
    LONG i;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    for (i = 0; i < 8; i++) InterlockedExchangeAdd64(&Watch->Sums[i], i);
    InterlockedIncrement(&Watch->Ticks);
}

static NTSTATUS Measure(VOID)
{
    WATCH *Watch = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(WATCH), UI_TAG);
    LARGE_INTEGER Due;
    LONG Ticks;

    if (Watch == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeTimer(&Watch->Timer);
    KeInitializeDpc(&Watch->Dpc, OnTimer, Watch);
    Due.QuadPart = -10000LL;
    KeSetTimer(&Watch->Timer, Due, &Watch->Dpc);
    Due.QuadPart = -20000LL;
    KeDelayExecutionThread(KernelMode, FALSE, &Due);
    KeCancelTimer(&Watch->Timer);
    Ticks = Watch->Ticks;
    ExFreePoolWithTag(Watch, UI_TAG);
    return Ticks <= 1 ? STATUS_SUCCESS : STATUS_DATA_ERROR;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Measure(), 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
