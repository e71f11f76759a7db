// The handle is made in the process of the caller, who gets it as the answer and owns it.
//@strict: 1
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status;
    HANDLE Process;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(HANDLE)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Status = ObOpenObjectByPointer(PsGetCurrentProcess(), 0, NULL,
        PROCESS_QUERY_LIMITED_INFORMATION, *PsProcessType, UserMode, &Process);
    if (!NT_SUCCESS(Status)) return UiComplete(Irp, Status, 0);
    *(PHANDLE)Irp->AssociatedIrp.SystemBuffer = Process;
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(HANDLE));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
