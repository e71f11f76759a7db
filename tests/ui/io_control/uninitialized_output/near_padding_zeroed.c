// The reply has padding between its fields; it was zeroed with the rest on the stack.
#include "ui_driver.h"

typedef struct _REPLY {
    UCHAR Kind;
    ULONG64 Time;
    USHORT Tail;
} REPLY;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    REPLY Reply;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(Reply)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    RtlZeroMemory(&Reply, sizeof(Reply));
    Reply.Kind = 1;
    Reply.Time = 2;
    Reply.Tail = 3;
    RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, &Reply, sizeof(Reply));
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(Reply));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
