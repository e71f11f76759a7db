// The driver opens its own device, and is prepared to be refused.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    PDEVICE_OBJECT Top = NULL;
    PFILE_OBJECT File = NULL;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    Status = IoGetDeviceObjectPointer(&Name, FILE_READ_ATTRIBUTES, &File, &Top);
    if (!NT_SUCCESS(Status)) return UiComplete(Irp, Status, 0);
    if (Top->Flags & DO_BUFFERED_IO) DbgPrint("buffered\n");
    ObDereferenceObject(File);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    return STATUS_SUCCESS;
}
