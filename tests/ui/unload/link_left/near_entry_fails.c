// The link is made, looked up, and taken back before DriverEntry fails.
//@exit: 3
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateUnprotectedSymbolicLink(&Link, &Name);
    if (NT_SUCCESS(Status)) {
        IoDeleteSymbolicLink(&Link);
        Status = STATUS_DEVICE_NOT_CONNECTED;
    }
    IoDeleteDevice(Device);
    return Status;
}
