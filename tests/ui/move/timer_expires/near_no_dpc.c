// A timer without a DPC: nothing of it runs after the cancel.
#include "ui_driver.h"

typedef struct {
    KTIMER Timer;
} WATCH;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due;
    WATCH *Watch;

    UNREFERENCED_PARAMETER(Device);
    Watch = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Watch), UI_TAG);
    if (!Watch) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    RtlZeroMemory(Watch, sizeof(*Watch));
    KeInitializeTimer(&Watch->Timer);
    Due.QuadPart = -10000000;
    KeSetTimer(&Watch->Timer, Due, NULL);
    KeCancelTimer(&Watch->Timer);
    ExFreePoolWithTag(Watch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
