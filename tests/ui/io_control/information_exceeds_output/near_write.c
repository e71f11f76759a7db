// A buffered write takes all bytes; its Information is their number and no output.
#include "ui_driver.h"

static volatile LONG Total;

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;

    UNREFERENCED_PARAMETER(Device);
    InterlockedExchangeAdd(&Total, (LONG)Length);
    return UiComplete(Irp, STATUS_SUCCESS, Length);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, Total ? STATUS_INVALID_DEVICE_REQUEST : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    return Status;
}
