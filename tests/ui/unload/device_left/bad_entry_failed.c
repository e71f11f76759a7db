// DriverEntry fails and leaves its device; Unload, which would delete it, is not called then.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    //~^ unload::device_left
    if (!NT_SUCCESS(Status)) return Status;
    return STATUS_DEVICE_NOT_CONNECTED;
}
