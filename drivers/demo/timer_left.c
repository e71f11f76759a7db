/* Sets a timer with a DPC, unloads without cancelling it: the DPC comes when its code is gone. */
#include "demo.h"

#define IOCTL_START DEMO_IOCTL(0x800, METHOD_BUFFERED)
#define DELAY_MS 100

static KTIMER Timer;
static KDPC Dpc;
static volatile LONG Ticks;

static VOID OnTimer(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    InterlockedIncrement(&Ticks);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode == IOCTL_START) {
        Due.QuadPart = -10000LL * DELAY_MS;
        KeSetTimer(&Timer, Due, &Dpc);
        Status = STATUS_SUCCESS;
    }
    return DemoComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoTimerLeft");

    /* Missing: KeCancelTimer(&Timer); KeFlushQueuedDpcs(); */
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\DemoTimerLeft");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\DemoTimerLeft");

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, OnTimer, NULL);
    return DemoStart(Driver, &Name, &Link, DeviceControl, Unload);
}
