// DriverEntry fails after it has connected the interrupt.
#include <ntddk.h>

static PKINTERRUPT Interrupt;

static BOOLEAN Isr(PKINTERRUPT Object, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    return FALSE;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    IoDisconnectInterrupt(Interrupt);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    Status = IoConnectInterrupt( //~ unload::interrupt_left
        &Interrupt, Isr, NULL, NULL, 0x51, 5, 5, LevelSensitive, FALSE, 1, FALSE);
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    IoDeleteDevice(Device);
    return STATUS_DEVICE_CONFIGURATION_ERROR;
}
