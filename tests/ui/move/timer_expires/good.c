// If the timer has expired already, the driver lets its DPC come to an end before it frees it.
#include "ui_driver.h"

typedef struct {
    KTIMER Timer;
    KDPC Dpc;
    ULONG Late;
} WATCH;

static VOID Late(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    ((WATCH *)Context)->Late = 1;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due;
    WATCH *Watch;

    UNREFERENCED_PARAMETER(Device);
    Watch = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Watch), UI_TAG);
    if (!Watch) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    RtlZeroMemory(Watch, sizeof(*Watch));
    KeInitializeTimer(&Watch->Timer);
    KeInitializeDpc(&Watch->Dpc, Late, Watch);
    Due.QuadPart = -10000000;
    KeSetTimer(&Watch->Timer, Due, &Watch->Dpc);
    if (!KeCancelTimer(&Watch->Timer)) KeFlushQueuedDpcs();
    ExFreePoolWithTag(Watch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
