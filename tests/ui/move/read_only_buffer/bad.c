// The driver writes into its input, and is lost when that can be read but not written.
//@needs: read_only_buffer
#include "ui_driver.h"

typedef struct {
    ULONG Count;
} TICKET;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile TICKET *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    NTSTATUS Status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength != sizeof(*In)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(*In), sizeof(UCHAR));
        In->Count = 0;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    if (NT_SUCCESS(Status)) return UiComplete(Irp, Status, 0);
    __try {
        (void)In->Count;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    // There, but not writable: that cannot be.
    IoMarkIrpPending(Irp);
    return STATUS_PENDING;
} //~ irp::never_completed

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
