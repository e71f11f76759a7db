//@needs: pool_failure
/* Asks for less memory when there is not enough, and not whether at least that was given. */
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    UCHAR *Scratch;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Scratch = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4096, UI_TAG); //~ NOTE: allocation 1 fails
    if (Scratch == NULL) {
        Scratch = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, UI_TAG); //~ NOTE: allocation 2 fails
    }
    Scratch[0] = 1; //~ memory::null_dereference
    ExFreePoolWithTag(Scratch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
