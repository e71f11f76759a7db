// The driver sets every field of its reply, but not the padding between them.
#include "ui_driver.h"

typedef struct _REPLY {
    UCHAR Kind;
    ULONG64 Time;
} REPLY;

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    REPLY Reply;

    UNREFERENCED_PARAMETER(Device);
    if (Length < sizeof(Reply)) return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    Reply.Kind = 1;
    Reply.Time = 2;
    RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, &Reply, sizeof(Reply));
    UiComplete(Irp, STATUS_SUCCESS, sizeof(Reply)); //~ io_control::uninitialized_output
    DbgPrint("read\n");
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
