// The routine that touches user memory has no handler; the one that calls it has.
#include "ui_driver.h"

static __declspec(noinline) VOID Fill(volatile UCHAR *Out, ULONG Length)
{
    ULONG i;

    ProbeForWrite((PVOID)Out, Length, sizeof(UCHAR));
    for (i = 0; i < Length; i++) Out[i] = (UCHAR)i;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = min(At->Parameters.DeviceIoControl.OutputBufferLength, 16);
    NTSTATUS Status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        Fill(Irp->UserBuffer, Length);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = STATUS_ACCESS_VIOLATION;
    }
    return UiComplete(Irp, Status, NT_SUCCESS(Status) ? Length : 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
