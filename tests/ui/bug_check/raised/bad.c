// Four objects are waited for, and a thread has wait blocks for three.
#include "ui_driver.h"

#define EVENTS 4

static KEVENT Events[EVENTS];

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PVOID Objects[EVENTS];

    UNREFERENCED_PARAMETER(Device);
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
