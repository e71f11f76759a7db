// The DPC signals as its last act, and who comes too late to cancel it waits for that.
#include "ui_driver.h"

typedef struct {
    KTIMER Timer;
    KDPC Dpc;
    KEVENT Over;
} WATCH;

static VOID Late(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeSetEvent(&((WATCH *)Context)->Over, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due;
    WATCH *Watch;

    UNREFERENCED_PARAMETER(Device);
    Watch = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Watch), UI_TAG);
    if (!Watch) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    RtlZeroMemory(Watch, sizeof(*Watch));
    KeInitializeEvent(&Watch->Over, NotificationEvent, FALSE);
    KeInitializeTimer(&Watch->Timer);
    KeInitializeDpc(&Watch->Dpc, Late, Watch);
    Due.QuadPart = -10000000;
    KeSetTimer(&Watch->Timer, Due, &Watch->Dpc);
    if (!KeCancelTimer(&Watch->Timer)) {
        KeWaitForSingleObject(&Watch->Over, Executive, KernelMode, FALSE, NULL);
        KeFlushQueuedDpcs();
    }
    ExFreePoolWithTag(Watch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
