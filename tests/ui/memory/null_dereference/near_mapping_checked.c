// Without a system address for its MDL the driver gives up; a mapping that bug checks cannot fail.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PULONG Out;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_OUT_DIRECT)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Out = MmMapLockedPagesSpecifyCache(
        Irp->MdlAddress, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    if (!Out) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    *Out = 1;
    Out = MmMapLockedPagesSpecifyCache(
        Irp->MdlAddress, KernelMode, MmCached, NULL, TRUE, NormalPagePriority);
    *Out = 2;
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
