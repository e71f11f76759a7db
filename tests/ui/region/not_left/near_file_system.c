// The names that file systems use, around a __finally block.
#include "ui_driver.h"

static LONG Users;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    FsRtlEnterFileSystem();
    __try {
        InterlockedIncrement(&Users);
        if (Users & 1) return UiComplete(Irp, STATUS_SUCCESS, 0);
    } __finally {
        FsRtlExitFileSystem();
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
