// Nobody gave the file object a context; the request follows it.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    volatile ULONG *Count = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    *Count = 1; //~ memory::null_dereference
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
