// A reference to the device of its own, over the deletion of the device.
#include <ntddk.h>

static PDEVICE_OBJECT Device;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ObReferenceObject(Device);
    IoDeleteDevice(Device);
    ObDereferenceObject(Device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    return IoCreateDevice(
        Driver, 0, NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
}
