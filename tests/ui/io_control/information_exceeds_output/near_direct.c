// For direct I/O Information is only a number for the caller: here the size of the whole text.
#include "ui_driver.h"

static const CHAR Text[] = "sixteen and more";

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = min(At->Parameters.DeviceIoControl.OutputBufferLength, sizeof(Text));
    PVOID Out = NULL;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_OUT_DIRECT)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Irp->MdlAddress) Out = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    if (!Out) return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    RtlCopyMemory(Out, Text, Length);
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(Text));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
