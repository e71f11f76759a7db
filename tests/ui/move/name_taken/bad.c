// The driver takes a device of its name for its own, left over from the last time it was loaded.
//@needs: name_taken
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
    Status = IoCreateDevice( //~ NOTE: somebody else has the name
        Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status) && Status != STATUS_OBJECT_NAME_COLLISION) return Status;
    Device->Flags |= DO_BUFFERED_IO; //~ memory::null_dereference
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
