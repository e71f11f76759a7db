/* Frees its scratch block when the request is bad, and once more on the common way out. */
#include "demo.h"

#define IOCTL_SUM DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define MAX_BYTES 256

static NTSTATUS Sum(PVOID Input, ULONG Length, PULONG Result)
{
    PULONG Scratch = ExAllocatePool2(POOL_FLAG_PAGED, MAX_BYTES, DEMO_TAG);
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG i;

    if (Scratch == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    if (Length > MAX_BYTES || Length % sizeof(ULONG) != 0) {
        ExFreePoolWithTag(Scratch, DEMO_TAG);
        Status = STATUS_INVALID_PARAMETER;
        goto Exit;
    }
    RtlCopyMemory(Scratch, Input, Length);
    *Result = 0;
    for (i = 0; i < Length / sizeof(ULONG); i++) *Result += Scratch[i];
Exit:
    ExFreePoolWithTag(Scratch, DEMO_TAG); /* freed already when the length was bad */
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Length = At->Parameters.DeviceIoControl.InputBufferLength, Result = 0;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != IOCTL_SUM) {
        return DemoComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Status = Sum(Irp->AssociatedIrp.SystemBuffer, Length, &Result);
    DbgPrint("sum: %lu\n", Result);
    return DemoComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoDoubleFree");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoDoubleFree");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoDoubleFree");

    UNREFERENCED_PARAMETER(RegistryPath);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
