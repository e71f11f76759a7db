// The work item is in the device extension.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoUninitializeWorkItem((PIO_WORKITEM)Driver->DeviceObject->DeviceExtension);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(
        Driver, IoSizeofWorkItem(), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    IoInitializeWorkItem(Device, (PIO_WORKITEM)Device->DeviceExtension);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
