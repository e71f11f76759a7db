// A buffered read fills two bytes of a longer buffer and reports two.
#include "ui_driver.h"

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;

    UNREFERENCED_PARAMETER(Device);
    Length = min(Length, 2);
    if (Length) RtlFillMemory(Irp->AssociatedIrp.SystemBuffer, Length, 7);
    return UiComplete(Irp, STATUS_SUCCESS, Length);
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
