// A timer routine is called at DISPATCH_LEVEL and takes its spin lock there, balanced.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static ULONG Seconds;

static VOID NTAPI EverySecond(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    *(PULONG)Context += 1;
    KeReleaseSpinLockFromDpcLevel(&Lock);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Interval = {.QuadPart = -15000000};
    ULONG Now;
    KIRQL Irql;

    IoStartTimer(Device);
    KeDelayExecutionThread(KernelMode, FALSE, &Interval);
    IoStopTimer(Device);
    KeAcquireSpinLock(&Lock, &Irql);
    Now = Seconds;
    KeReleaseSpinLock(&Lock, Irql);
    return UiComplete(Irp, Now ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    KeInitializeSpinLock(&Lock);
    Status = IoInitializeTimer(Driver->DeviceObject, EverySecond, &Seconds);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    return Status;
}
