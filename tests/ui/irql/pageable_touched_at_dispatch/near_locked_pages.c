// A caller's buffer is locked and mapped; the mapping is written at DISPATCH_LEVEL.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.OutputBufferLength;
    volatile UCHAR *Bytes;
    KIRQL OldIrql;
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_OUT_DIRECT) ||
        !Irp->MdlAddress) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Bytes = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute);
    if (!Bytes) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (i = 0; i < Length; i++) Bytes[i] = (UCHAR)i;
    KeLowerIrql(OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, Length);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
