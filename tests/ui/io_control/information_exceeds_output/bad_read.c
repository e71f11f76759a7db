// A buffered read of fewer bytes than the record has is answered with the size of the record.
#include "ui_driver.h"

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;

    UNREFERENCED_PARAMETER(Device);
    if (Length) RtlFillMemory(Irp->AssociatedIrp.SystemBuffer, min(Length, 32), 0x55);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = Length ? 32 : 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT); //~ io_control::information_exceeds_output
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, UiCreateClose);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    return Status;
}
