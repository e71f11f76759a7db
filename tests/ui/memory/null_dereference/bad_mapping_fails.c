// The driver writes to the system address of its MDL without a look at whether there is one.
//@needs: mapping_failure
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PULONG Out;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_OUT_DIRECT)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Out = MmMapLockedPagesSpecifyCache( //~ NOTE: mapping 1 fails here
        Irp->MdlAddress, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    *Out = 1; //~ memory::null_dereference
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
