/* The helper completes a request that it refuses; its caller completes every request. */
#include "demo.h"

#define IOCTL_GET_VERSION DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define VERSION 0x00010002

static NTSTATUS GetVersion(PIRP Irp, ULONG Length)
{
    if (Length < sizeof(ULONG)) return DemoComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    *(PULONG)Irp->AssociatedIrp.SystemBuffer = VERSION;
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = sizeof(ULONG);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != IOCTL_GET_VERSION) {
        return DemoComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Status = GetVersion(Irp, At->Parameters.DeviceIoControl.OutputBufferLength);
    IoCompleteRequest(Irp, IO_NO_INCREMENT); /* the helper did so when it refused */
    return Status;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoCompletedTwice");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoCompletedTwice");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoCompletedTwice");

    UNREFERENCED_PARAMETER(RegistryPath);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
