// A work item in the device extension is uninitialised.
#include <ntddk.h>

static PIO_WORKITEM Item;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoUninitializeWorkItem(Item);
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
    Item = Device->DeviceExtension;
    IoInitializeWorkItem(Device, Item);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
