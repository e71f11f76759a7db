// If the name is taken, the driver tries another one.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Other = RTL_CONSTANT_STRING(L"\\Device\\Ui2");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(
        Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (Status == STATUS_OBJECT_NAME_COLLISION) {
        Status = IoCreateDevice(
            Driver, 0, &Other, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    }
    if (!NT_SUCCESS(Status)) return Status;
    Device->Flags |= DO_BUFFERED_IO;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
