// A control request stops the timer, flushes its DPC, resets the count and starts the timer again.
#include "ui_driver.h"

static KTIMER Timer;
static KDPC Dpc;
static FAST_MUTEX Lock;
static LONG Ticks;

static VOID Tick(PKDPC Self, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Self);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Ticks++;
}

static VOID Start(VOID)
{
    LARGE_INTEGER Due = { .QuadPart = -10 * 1000 * 10 };

    KeSetTimerEx(&Timer, Due, 10, &Dpc);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Lock);
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    Ticks /= 2;
    Start();
    ExReleaseFastMutexUnsafe(&Lock);
    KeLeaveCriticalRegion();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Tick, NULL);
    ExInitializeFastMutex(&Lock);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Start();
    return STATUS_SUCCESS;
}
