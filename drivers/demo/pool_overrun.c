/* Keeps a name of up to 32 characters, and forgets that the terminator needs room too. */
#include "demo.h"

#define IOCTL_SET_NAME DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define NAME_BYTES 32

static NTSTATUS SetName(const CHAR *Text, ULONG Length)
{
    CHAR *Name;

    if (Length == 0 || Length > NAME_BYTES) return STATUS_INVALID_PARAMETER;
    Name = ExAllocatePool2(POOL_FLAG_NON_PAGED, NAME_BYTES, DEMO_TAG);
    if (Name == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    RtlCopyMemory(Name, Text, Length);
    Name[Length] = 0; /* one past the end for a name of 32 characters */
    DbgPrint("name: %s\n", Name);
    ExFreePoolWithTag(Name, DEMO_TAG);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.InputBufferLength;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode == IOCTL_SET_NAME) {
        Status = SetName(Irp->AssociatedIrp.SystemBuffer, Length);
    }
    return DemoComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoPoolOverrun");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoPoolOverrun");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoPoolOverrun");

    UNREFERENCED_PARAMETER(RegistryPath);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
