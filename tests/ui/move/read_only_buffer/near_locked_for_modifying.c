// The driver locks the caller's input for writing too, and is prepared to be refused.
#include "ui_driver.h"

typedef struct {
    ULONG Count;
} TICKET;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile TICKET *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    PMDL Mdl;
    NTSTATUS Status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength != sizeof(*In)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Mdl = IoAllocateMdl((PVOID)In, sizeof(*In), FALSE, FALSE, NULL);
    if (!Mdl) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    __try {
        MmProbeAndLockPages(Mdl, UserMode, IoModifyAccess);
        MmUnlockPages(Mdl);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    IoFreeMdl(Mdl);
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
