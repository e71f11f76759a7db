//@depth: 1
//@expect: timer::alive_at_unload, memory::execute_data, memory::wild_access
//@bug: A DPC that saw no stop yet sets its timer again after unload has cancelled it.
/* A one-shot timer that sets itself again, each time a little later, from the first request on. */
#include "ui_driver.h"

#define LONGEST_MS 20

static KTIMER Timer;
static KDPC Dpc;
static volatile LONG IsStarted;
static volatile LONG IsStopping;
static volatile LONG DelayMs = 1;

static VOID Arm(VOID)
{
    LARGE_INTEGER Due;

    Due.QuadPart = -10000LL * DelayMs;
    KeSetTimer(&Timer, Due, &Dpc);
}

static VOID OnTimer(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    if (IsStopping) return;
    if (DelayMs < LONGEST_MS) InterlockedIncrement(&DelayMs);
    Arm();
}

static NTSTATUS Serve(VOID)
{
    if (InterlockedExchange(&IsStarted, 1) == 0) Arm();
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Serve(), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    InterlockedExchange(&IsStopping, 1);
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, OnTimer, NULL);
    Status = UiStart(Driver, DeviceControl);
    Driver->DriverUnload = Unload;
    return Status;
}
