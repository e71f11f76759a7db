// A filter over the driver's own device passes requests down; its completion routine forgets the
// mark of those that come back long after the dispatch routine returned.
#include "ui_driver.h"

static PDEVICE_OBJECT Filter, Lower;
static KTIMER Timer;
static KDPC Dpc;
static PIRP Waiting;

static VOID Complete(PKDPC This, PVOID Context, PVOID First, PVOID Second)
{
    PIRP Irp = InterlockedExchangePointer((PVOID *)&Waiting, NULL);

    UNREFERENCED_PARAMETER(This);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    if (Irp) UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Completed(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Irp);
    return STATUS_CONTINUE_COMPLETION;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{ //~ irp::pending_not_marked
    LARGE_INTEGER Due = {.QuadPart = -20 * 10000};

    if (Device == Filter) {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        if (!NT_SUCCESS(
                IoSetCompletionRoutineEx(Device, Irp, Completed, NULL, TRUE, TRUE, TRUE))) {
            return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
        }
        return IoCallDriver(Lower, Irp);
    }
    IoMarkIrpPending(Irp);
    if (InterlockedCompareExchangePointer((PVOID *)&Waiting, Irp, NULL)) {
        UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
        return STATUS_PENDING;
    }
    KeSetTimer(&Timer, Due, &Dpc);
    return STATUS_PENDING;
}

static NTSTATUS CreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device != Filter) return UiCreateClose(Device, Irp);
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower, Irp);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    KeFlushQueuedDpcs();
    IoDetachDevice(Lower);
    IoDeleteDevice(Filter);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);
    PDEVICE_OBJECT Target = Driver->DeviceObject;

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Complete, NULL);
    Driver->MajorFunction[IRP_MJ_CREATE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
    Driver->DriverUnload = Unload;
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Filter);
    if (!NT_SUCCESS(Status)) {
        UiUnload(Driver);
        return Status;
    }
    Target->Flags &= ~DO_DEVICE_INITIALIZING;
    Lower = IoAttachDeviceToDeviceStack(Filter, Target);
    if (!Lower) {
        IoDeleteDevice(Filter);
        UiUnload(Driver);
        return STATUS_NO_SUCH_DEVICE;
    }
    Filter->Flags |= Lower->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO);
    Filter->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
