// The lowest and the highest priority that a driver may set, and back to what was.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KPRIORITY Before = KeSetPriorityThread(KeGetCurrentThread(), 1);

    UNREFERENCED_PARAMETER(Device);
    KeSetPriorityThread(KeGetCurrentThread(), HIGH_PRIORITY);
    KeSetPriorityThread(KeGetCurrentThread(), LOW_REALTIME_PRIORITY);
    KeSetPriorityThread(KeGetCurrentThread(), Before);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
