// What is locked for reading is read; the answer is made elsewhere
// ("Buffer Descriptions for I/O Control Codes").
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.OutputBufferLength;
    volatile ULONG *Numbers;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_IN_DIRECT)
        || Length < sizeof(*Numbers)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Numbers = MmGetSystemAddressForMdlSafe(
        Irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute);
    if (!Numbers) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    return UiComplete(Irp, STATUS_SUCCESS, *Numbers & 1);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
