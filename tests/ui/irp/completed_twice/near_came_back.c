// The lower device completes the IRP, the completion routine takes it back, the upper completes it.
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
    NTSTATUS Status;

    if (Device == Lower) return UiComplete(Irp, STATUS_SUCCESS, 0);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, CameBack, &Done, TRUE, TRUE, TRUE);
    Status = IoCallDriver(Lower, Irp);
    if (Status == STATUS_PENDING) {
        KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    }
    Status = Irp->IoStatus.Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
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
