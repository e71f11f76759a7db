// A bug check guards what can never be: the count was raised just before.
#include "ui_driver.h"

static LONG Requests;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (InterlockedIncrement(&Requests) <= 0) {
        KeBugCheckEx(0xE2, (ULONG_PTR)Requests, 0, 0, 0);
    }
    if (InterlockedDecrement(&Requests) < 0) {
        KeBugCheckEx(0xE2, (ULONG_PTR)Requests, 1, 0, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
