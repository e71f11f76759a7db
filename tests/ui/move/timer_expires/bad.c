// The driver frees a timer with its DPC as soon as it was cancelled, whether that came too late.
//@needs: timer_expires
//@args: --strategy friendly --strategy failures
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
    KeCancelTimer(&Watch->Timer); //~ NOTE: the timer has just expired
    ExFreePoolWithTag(Watch, UI_TAG); //~ dpc::gone_while_queued
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
