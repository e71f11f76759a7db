// A work item that was allocated is only uninitialised.
#include <ntddk.h>

static PIO_WORKITEM Item;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoUninitializeWorkItem(Item); //~ work_item::freed_by_wrong_routine
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Item = IoAllocateWorkItem(Device); //~ NOTE: allocated here
    if (!Item) {
        IoDeleteDevice(Device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
