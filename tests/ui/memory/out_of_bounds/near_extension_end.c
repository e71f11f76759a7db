// The last byte of a device extension of odd size, and the last byte of a request's buffer.
#include "ui_driver.h"

#define EXTENSION_LENGTH 37

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    volatile UCHAR *Extension = Device->DeviceExtension;
    volatile UCHAR *Buffer = Irp->AssociatedIrp.SystemBuffer;
    ULONG i;

    Extension[EXTENSION_LENGTH - 1]++;
    for (i = 0; i < Length; i++) Buffer[i] = Extension[EXTENSION_LENGTH - 1];
    return UiComplete(Irp, STATUS_SUCCESS, Length);
}

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
    Status = IoCreateDevice(
        Driver, EXTENSION_LENGTH, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Device->Flags |= DO_BUFFERED_IO;
    Driver->MajorFunction[IRP_MJ_CREATE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
