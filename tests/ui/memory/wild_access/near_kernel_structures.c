// Fields of objects that the kernel owns and documents: driver, device, MDL, registry path.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    if (At->DeviceObject != Device || At->FileObject->DeviceObject != Device) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    DbgPrint("%u of %u\n", Irp->CurrentLocation, Irp->StackCount);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    DbgPrint("%wZ %wZ\n", &Driver->DriverName, RegistryPath);
    DbgPrint("%p %x\n", Driver->DriverStart, Driver->DriverSize);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    for (Device = Driver->DeviceObject; Device; Device = Device->NextDevice) {
        Device->Flags |= DO_BUFFERED_IO;
        if (Device->DriverObject != Driver) DbgPrint("not ours\n");
    }
    return STATUS_SUCCESS;
}
