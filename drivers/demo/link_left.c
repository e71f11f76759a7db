/* Unloads without deleting its symbolic link, which then leads nowhere. */
#include "demo.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return DemoComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoLinkLeft");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoLinkLeft");

    UNREFERENCED_PARAMETER(RegistryPath);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
