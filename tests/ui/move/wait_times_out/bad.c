// The driver takes STATUS_TIMEOUT, which is a success, for the signal that it waited for.
//@needs: wait_times_out
//@args: --strategy friendly --strategy failures
#include "ui_driver.h"

static KEVENT Ready;
static KTIMER Timer;
static KDPC Dpc;
static ULONG Value;
static ULONG *volatile Result;

static VOID Publish(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Value = 42;
    Result = &Value;
    KeSetEvent(&Ready, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Second;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    Second.QuadPart = -10000000;
    Status = KeWaitForSingleObject( //~ NOTE: times out before anything is signalled here
        &Ready, Executive, KernelMode, FALSE, &Second);
    if (!NT_SUCCESS(Status)) return UiComplete(Irp, Status, 0);
    if (*Result != 42) //~ memory::null_dereference
        return UiComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
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
    LARGE_INTEGER Due;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    KeInitializeEvent(&Ready, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, Publish, NULL);
    KeInitializeTimer(&Timer);
    Due.QuadPart = -1000000;
    KeSetTimer(&Timer, Due, &Dpc);
    return STATUS_SUCCESS;
}
