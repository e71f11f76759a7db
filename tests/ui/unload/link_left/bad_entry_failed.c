// DriverEntry fails and deletes its device, but not the link that leads to it.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\DosDevices\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateSymbolicLink(&Link, &Name); //~ unload::link_left
    IoDeleteDevice(Device);
    return NT_SUCCESS(Status) ? STATUS_DEVICE_NOT_CONNECTED : Status;
}
