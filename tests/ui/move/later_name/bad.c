// The device that the first request makes gets its counter with its own first request only.
//@needs: later_name
#include "ui_driver.h"

static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\UiLater");
static UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\UiLater");
static PDEVICE_OBJECT Later;
static volatile LONG *Counter;
static LONG Opens;

static NTSTATUS Make(PDRIVER_OBJECT Driver)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    Status = IoCreateDevice(
        Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (Status == STATUS_OBJECT_NAME_COLLISION) return STATUS_SUCCESS;
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Later = Device;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device == Later) InterlockedIncrement(Counter); //~ memory::null_dereference
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device == Later) {
        Counter = &Opens;
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    return UiComplete(Irp, Make(Device->DriverObject), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING First = RTL_CONSTANT_STRING(L"\\??\\Ui");

    if (Later != NULL) {
        IoDeleteSymbolicLink(&Link);
        IoDeleteDevice(Later);
    }
    IoDeleteSymbolicLink(&First);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
