// A table for 16 values does not notice that it is full.
//@needs: many_requests
#include "ui_driver.h"

#define ROOM 16

static ULONG *Values;
static ULONG Count;
static FAST_MUTEX Lock;

static NTSTATUS Add(ULONG Value)
{
    NTSTATUS Status = STATUS_SUCCESS;

    ExAcquireFastMutex(&Lock);
    Values[Count++] = Value; //~ memory::out_of_bounds
    ExReleaseFastMutex(&Lock);
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Add(*(ULONG *)Irp->AssociatedIrp.SystemBuffer), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UiUnload(Driver);
    ExFreePoolWithTag(Values, UI_TAG);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Values = ExAllocatePoolWithTag(NonPagedPoolNx, ROOM * sizeof(*Values), UI_TAG);
    if (!Values) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Values, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
