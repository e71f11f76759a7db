// One IRP of the driver's own goes down twice and is completed twice; it was reused in between.
#include "ui_driver.h"

static PDEVICE_OBJECT Lower;

static NTSTATUS CameBack(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    KEVENT Done;
    PIRP Own;
    int Round;

    if (Device == Lower) return UiComplete(Irp, STATUS_SUCCESS, 0);
    Own = IoAllocateIrp(Lower->StackSize, FALSE);
    if (!Own) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    for (Round = 0; Round < 2; Round++) {
        KeInitializeEvent(&Done, NotificationEvent, FALSE);
        IoGetNextIrpStackLocation(Own)->MajorFunction = IRP_MJ_DEVICE_CONTROL;
        IoSetCompletionRoutine(Own, CameBack, &Done, TRUE, TRUE, TRUE);
        IoCallDriver(Lower, Own);
        KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
        IoReuseIrp(Own, STATUS_SUCCESS);
    }
    IoFreeIrp(Own);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Lower);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DeviceObject->StackSize = 2;
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Lower);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    Driver->DriverUnload = Unload;
    return Status;
}
