/* What every demo driver needs besides its one bug: a device, a link, and answers. */
#ifndef DEMO_H
#define DEMO_H

#include <ntddk.h>

#define DEMO_TAG 'omeD'
#define DEMO_IOCTL(function, method) \
    CTL_CODE(FILE_DEVICE_UNKNOWN, function, method, FILE_ANY_ACCESS)

static NTSTATUS DemoComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS DemoCreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return DemoComplete(Irp, STATUS_SUCCESS, 0);
}

/* Creates \Device\<Name> and \??\<Name>, and registers the routines. */
static NTSTATUS DemoStart(PDRIVER_OBJECT Driver, PUNICODE_STRING Name, PUNICODE_STRING Link,
    PDRIVER_DISPATCH DeviceControl, PDRIVER_UNLOAD Unload)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    Status = IoCreateDevice(
        Driver, 0, Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Status = IoCreateSymbolicLink(Link, Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = DemoCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = DemoCreateClose;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}

#endif
