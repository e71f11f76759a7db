// A work item in pool of the driver's own is uninitialised, and its pool freed.
#include <ntddk.h>

static PIO_WORKITEM Item;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoUninitializeWorkItem(Item);
    ExFreePoolWithTag(Item, 'tseT');
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Item = ExAllocatePool2(POOL_FLAG_NON_PAGED, IoSizeofWorkItem(), 'tseT');
    if (!Item) {
        IoDeleteDevice(Device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    IoInitializeWorkItem(Device, Item);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
