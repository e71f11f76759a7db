// Unload deletes the link and forgets the device.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    IoDeleteSymbolicLink(&Link);
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    //~^ unload::device_left
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) IoDeleteDevice(Device);
    Driver->DriverUnload = Unload;
    return Status;
}
