// The priority is checked in the caller's memory and fetched again for the call.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    volatile LONG *Priority = At->Parameters.DeviceIoControl.Type3InputBuffer;
    PKTHREAD Thread = KeGetCurrentThread();

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(LONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        LONG Wanted;

        ProbeForRead((PVOID)Priority, sizeof(LONG), sizeof(UCHAR));
        Wanted = *Priority;
        if (Wanted < 1 || Wanted > HIGH_PRIORITY) {
            return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        KeSetPriorityThread(Thread, *Priority); //~ user_buffer::fetched_twice
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
