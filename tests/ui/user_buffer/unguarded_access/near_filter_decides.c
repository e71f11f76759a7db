// A filter takes access violations only; nothing else can happen in the guarded block.
#include "ui_driver.h"

static LONG Filter(ULONG Code)
{
    return Code == (ULONG)STATUS_ACCESS_VIOLATION || Code == (ULONG)STATUS_DATATYPE_MISALIGNMENT
               ? EXCEPTION_EXECUTE_HANDLER
               : EXCEPTION_CONTINUE_SEARCH;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG *In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    ULONG Value;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(*In)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead((PVOID)In, sizeof(*In), sizeof(ULONG));
        Value = *In;
    } __except (Filter(GetExceptionCode())) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, Value ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
