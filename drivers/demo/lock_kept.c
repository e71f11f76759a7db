/* Keeps a table under a spin lock, and returns without releasing it when the table is full. */
#include "demo.h"

#define IOCTL_ADD DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define ENTRIES 4

static KSPIN_LOCK Lock;
static ULONG Entries[ENTRIES];
static ULONG Used;

static NTSTATUS Add(ULONG Value)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (Value == 0 || Used == ENTRIES) return STATUS_INVALID_PARAMETER; /* still locked */
    Entries[Used++] = Value;
    KeReleaseSpinLock(&Lock, OldIrql);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode == IOCTL_ADD) {
        Status = STATUS_BUFFER_TOO_SMALL;
        if (At->Parameters.DeviceIoControl.InputBufferLength >= sizeof(ULONG)) {
            Status = Add(*(ULONG *)Irp->AssociatedIrp.SystemBuffer);
        }
    }
    return DemoComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoLockKept");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoLockKept");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoLockKept");

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
