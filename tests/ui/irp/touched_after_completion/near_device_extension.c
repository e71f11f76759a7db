// After the completion the driver counts in the device object, which outlives every request.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Length = IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.InputBufferLength;

    UiComplete(Irp, STATUS_SUCCESS, 0);
    Device->AlignmentRequirement = 0;
    DbgPrint("%p: %u bytes\n", (PVOID)Device->DriverObject, Length);
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
