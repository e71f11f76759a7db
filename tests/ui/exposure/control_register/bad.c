// The caller chooses the new value of CR4.
#include "ui_driver.h"

static volatile ULONG64 Seen;

static __declspec(noinline) VOID Touch(ULONG64 Value)
{
    Seen = Value;
    __writecr4(Value); //~ exposure::control_register
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PULONG64 Buffer = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG64)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        Touch(*Buffer);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, GetExceptionCode(), 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
