// The MDL that the driver makes for a request's buffer belongs to the IRP, which frees it.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.OutputBufferLength;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER) || Length == 0) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (!IoAllocateMdl(Irp->UserBuffer, Length, FALSE, FALSE, Irp)) {
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    __try {
        MmProbeAndLockPages(Irp->MdlAddress, UserMode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        IoFreeMdl(Irp->MdlAddress);
        Irp->MdlAddress = NULL;
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
