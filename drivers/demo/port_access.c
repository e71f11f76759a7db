/* Lets everybody who can open the device read and write any I/O port. */
#include "demo.h"

#define IOCTL_READ_PORT DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define IOCTL_WRITE_PORT DEMO_IOCTL(0x801, METHOD_BUFFERED)

typedef struct _PORT_VALUE {
    USHORT Port;
    UCHAR Value;
} PORT_VALUE, *PPORT_VALUE;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PPORT_VALUE Request = Irp->AssociatedIrp.SystemBuffer;
    ULONG In = At->Parameters.DeviceIoControl.InputBufferLength;
    ULONG Out = At->Parameters.DeviceIoControl.OutputBufferLength;

    UNREFERENCED_PARAMETER(Device);
    if (In < sizeof(PORT_VALUE)) return DemoComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    switch (At->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_READ_PORT:
        if (Out < sizeof(PORT_VALUE)) return DemoComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        Request->Value = __inbyte(Request->Port);
        return DemoComplete(Irp, STATUS_SUCCESS, sizeof(PORT_VALUE));
    case IOCTL_WRITE_PORT:
        __outbyte(Request->Port, Request->Value);
        return DemoComplete(Irp, STATUS_SUCCESS, 0);
    default:
        return DemoComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoPortAccess");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoPortAccess");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoPortAccess");

    UNREFERENCED_PARAMETER(RegistryPath);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
