// Offset and length are added before they are compared with the size of the store.
//@needs: far_offset
#include "ui_driver.h"

static UCHAR Store[64];

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.Read.Length;
    ULONG Offset = At->Parameters.Read.ByteOffset.LowPart;

    UNREFERENCED_PARAMETER(Device);
    if (Offset + Length > sizeof(Store)) return UiComplete(Irp, STATUS_END_OF_FILE, 0);
    if (Length == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, Store + Offset, Length); //~ memory::wild_access
    return UiComplete(Irp, STATUS_SUCCESS, Length);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    return STATUS_SUCCESS;
}
