// The block that touches user memory has only a __finally; the __except is around it.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PUCHAR In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    NTSTATUS Status = STATUS_SUCCESS;
    PUCHAR Copy;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < 16) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Copy = ExAllocatePool2(POOL_FLAG_PAGED, 16, UI_TAG);
    if (!Copy) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    __try {
        __try {
            ProbeForRead(In, 16, sizeof(UCHAR));
            RtlCopyMemory(Copy, In, 16);
            if (Copy[0] != 'U') Status = STATUS_INVALID_PARAMETER;
        } __finally {
            ExFreePoolWithTag(Copy, UI_TAG);
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = STATUS_ACCESS_VIOLATION;
    }
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
