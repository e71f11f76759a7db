// The driver copies the whole system buffer, input or not, and looks at the input bytes only.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG In = At->Parameters.DeviceIoControl.InputBufferLength;
    ULONG Whole = max(In, At->Parameters.DeviceIoControl.OutputBufferLength);
    PUCHAR Copy;
    ULONG Sum = 0, i;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (!Whole) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    Copy = ExAllocatePool2(POOL_FLAG_PAGED, Whole, UI_TAG);
    if (!Copy) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    RtlCopyMemory(Copy, Irp->AssociatedIrp.SystemBuffer, Whole);
    for (i = 0; i < In; i++) Sum += Copy[i];
    ExFreePoolWithTag(Copy, UI_TAG);
    return UiComplete(Irp, Sum ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
