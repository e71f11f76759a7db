// Unload deletes every device on the driver's list, named or not, with and without extension.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    while (Driver->DeviceObject) IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    for (i = 0; i < 4; i++) {
        Status = IoCreateDevice(
            Driver, i * 24, i == 2 ? &Name : NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
        if (!NT_SUCCESS(Status)) {
            Unload(Driver);
            return Status;
        }
        if (Device->DeviceExtension) *(volatile ULONG *)Device->DeviceExtension = i;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
