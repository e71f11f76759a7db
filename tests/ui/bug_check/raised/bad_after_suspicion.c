// An undefined value decides a branch, which comes to nothing; then the system stops.
#include "ui_driver.h"

#define EVENTS 4

static KEVENT Events[EVENTS];

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PVOID Objects[EVENTS];
    PULONG Block = ExAllocatePoolWithTag(NonPagedPoolNx, 8, UI_TAG);
    volatile BOOLEAN IsLarge = FALSE;

    UNREFERENCED_PARAMETER(Device);
    if (!Block) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    if (*(volatile ULONG *)&Block[1] > 100) IsLarge = TRUE;
    UNREFERENCED_PARAMETER(IsLarge);
    ExFreePoolWithTag(Block, UI_TAG);
    for (ULONG i = 0; i < EVENTS; i++) {
        Objects[i] = &Events[i];
    }
    KeWaitForMultipleObjects( //~ bug_check::raised
        EVENTS, Objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    for (ULONG i = 0; i < EVENTS; i++) {
        KeInitializeEvent(&Events[i], NotificationEvent, TRUE);
    }
    return UiStart(Driver, DeviceControl);
}
