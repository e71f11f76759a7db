/* What a ui test with a device needs besides its mistake: \Device\Ui, \??\Ui, open and close. */
#ifndef UI_DRIVER_H
#define UI_DRIVER_H

#include <ntddk.h>

#define UI_TAG 'tseT'
#define UI_IOCTL(method) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, method, FILE_ANY_ACCESS)

static inline NTSTATUS UiComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static inline NTSTATUS UiCreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static inline VOID UiUnload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

/* Creates the device and its link, and registers the routines. */
static inline NTSTATUS UiStart(PDRIVER_OBJECT Driver, PDRIVER_DISPATCH DeviceControl)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Ui");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    Status = IoCreateDevice(
        Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = UiCreateClose;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    Driver->DriverUnload = UiUnload;
    return STATUS_SUCCESS;
}

#endif
