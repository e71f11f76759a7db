// The driver probes the buffer inside __try and then writes to it outside.
//@needs: user_page_gone
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG *Out = Irp->UserBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(*Out)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForWrite((PVOID)Out, sizeof(*Out), sizeof(UCHAR));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    *Out = 42; //~ user_buffer::unguarded_access
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(*Out));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
