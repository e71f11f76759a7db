//@depth: 1
//@expect: memory::null_dereference
//@bug: The mapping of a direct buffer may fail, and its address is used unchecked.
/* A checksum of what is written, over direct I/O; a read fills the buffer with it. */
#include "ui_driver.h"

static volatile LONG Checksum;

static UCHAR *Map(PIRP Irp)
{
    return MmGetSystemAddressForMdlSafe(
        Irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;
    UCHAR *Data;
    LONG Sum = 0;
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
    if (Bytes == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    Data = Map(Irp);
    if (Data == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    for (i = 0; i < Bytes; i++) Sum += Data[i];
    InterlockedExchange(&Checksum, Sum);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    UCHAR *Data;

    UNREFERENCED_PARAMETER(Device);
    if (Bytes == 0) return UiComplete(Irp, STATUS_SUCCESS, 0);
    Data = Map(Irp);
    RtlFillMemory(Data, Bytes, (UCHAR)Checksum);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
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
    Driver->DeviceObject->Flags |= DO_DIRECT_IO;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    return STATUS_SUCCESS;
}
