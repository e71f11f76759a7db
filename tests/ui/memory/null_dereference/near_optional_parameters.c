// Null where the documentation allows it: no context, no timeout, no IRP, no device name.
//@exit: 3
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;
    KEVENT Event;
    UCHAR Bytes[16];
    PMDL Mdl;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Event, NotificationEvent, TRUE);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
    Mdl = IoAllocateMdl(Bytes, sizeof(Bytes), FALSE, FALSE, NULL);
    if (Mdl) IoFreeMdl(Mdl);
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (NT_SUCCESS(Status)) IoDeleteDevice(Device);
    return STATUS_UNSUCCESSFUL;
}
