/* Allocates paged pool while it holds a spin lock, that is, at DISPATCH_LEVEL. */
#include "demo.h"

#define IOCTL_REMEMBER DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define NOTE_BYTES 64

static KSPIN_LOCK Lock;
static PVOID Note;

static NTSTATUS Remember(VOID)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (Note == NULL) Note = ExAllocatePool2(POOL_FLAG_PAGED, NOTE_BYTES, DEMO_TAG);
    KeReleaseSpinLock(&Lock, OldIrql);
    return Note != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode == IOCTL_REMEMBER) Status = Remember();
    return DemoComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoPagedAtDispatch");

    if (Note != NULL) ExFreePoolWithTag(Note, DEMO_TAG);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoPagedAtDispatch");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoPagedAtDispatch");

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
