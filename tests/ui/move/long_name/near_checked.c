// The sum is made in 16 bits, after a look whether it has room there.
#include "ui_driver.h"

static const WCHAR Prefix[] = L"\\Root\\of\\everything\\that\\the\\driver\\shows";

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    PUNICODE_STRING Name = &IoGetCurrentIrpStackLocation(Irp)->FileObject->FileName;
    USHORT Bytes;
    PUCHAR Path;

    UNREFERENCED_PARAMETER(Device);
    if (Name->Length > MAXUSHORT - sizeof(Prefix)) {
        return UiComplete(Irp, STATUS_NAME_TOO_LONG, 0);
    }
    Bytes = sizeof(Prefix) + Name->Length;
    Path = ExAllocatePoolWithTag(PagedPool, Bytes, UI_TAG);
    if (!Path) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    RtlCopyMemory(Path, Prefix, sizeof(Prefix));
    RtlCopyMemory(Path + sizeof(Prefix), Name->Buffer, Name->Length);
    ExFreePoolWithTag(Path, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
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
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    return STATUS_SUCCESS;
}
