// The driver fills one field of its reply and returns the whole structure.
#include "ui_driver.h"

typedef struct _REPLY {
    ULONG Version;
    ULONG Reserved[3];
} REPLY, *PREPLY;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PREPLY Reply = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode == UI_IOCTL(METHOD_BUFFERED)
        && At->Parameters.DeviceIoControl.OutputBufferLength >= sizeof(REPLY)) {
        Reply->Version = 3;
        Status = STATUS_SUCCESS;
    }
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = NT_SUCCESS(Status) ? sizeof(REPLY) : 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT); //~ io_control::uninitialized_output
    return Status;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
