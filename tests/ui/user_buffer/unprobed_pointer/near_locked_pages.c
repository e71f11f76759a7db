// The driver writes to the caller's memory through a mapping of its own; the lock probed it.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.OutputBufferLength;
    volatile UCHAR *Out;
    PMDL Mdl;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER) || !Length) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Mdl = IoAllocateMdl(Irp->UserBuffer, Length, FALSE, FALSE, NULL);
    if (!Mdl) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    __try {
        MmProbeAndLockPages(Mdl, UserMode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        IoFreeMdl(Mdl);
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    Out = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    if (Out) *Out = 42;
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    return UiComplete(Irp, Out ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES, Out ? 1 : 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
