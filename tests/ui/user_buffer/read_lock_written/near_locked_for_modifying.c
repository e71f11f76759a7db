// The driver locks the caller's buffer for both: read-only pages raise an exception then
// ("MmProbeAndLockPages").
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.InputBufferLength;
    volatile ULONG *Numbers;
    NTSTATUS Status = STATUS_SUCCESS;
    PMDL Mdl;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || Length < sizeof(*Numbers)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Mdl = IoAllocateMdl(
        At->Parameters.DeviceIoControl.Type3InputBuffer, Length, FALSE, FALSE, NULL);
    if (!Mdl) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    __try {
        MmProbeAndLockPages(Mdl, UserMode, IoModifyAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        IoFreeMdl(Mdl);
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    Numbers = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
    if (Numbers) *Numbers = 0;
    else Status = STATUS_INSUFFICIENT_RESOURCES;
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
