// Unload deletes the device and forgets the link.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateSymbolicLink(&Link, &Name); //~ unload::link_left
    if (!NT_SUCCESS(Status)) IoDeleteDevice(Device);
    Driver->DriverUnload = Unload;
    return Status;
}
