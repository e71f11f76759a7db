// The context of the file is touched after the request is complete: the handle may be closed by
// then, and the request was what kept the file open.
#include "ui_driver.h"

typedef struct {
    LONG Served;
} FILE_CONTEXT;

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    FILE_CONTEXT *File = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*File), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (!File) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    File->Served = 0;
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = File;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    FILE_CONTEXT *File = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    UiComplete(Irp, STATUS_SUCCESS, 0);
    InterlockedIncrement(&File->Served); //~ memory::use_after_free
    return STATUS_SUCCESS;
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    FILE_CONTEXT *File = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    ExFreePoolWithTag(File, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return STATUS_SUCCESS;
}
