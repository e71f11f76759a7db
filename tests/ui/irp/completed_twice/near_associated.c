// A request is split in two; the second part to be completed completes the request itself.
#include "ui_driver.h"

static PDEVICE_OBJECT Lower;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Parts[2];
    ULONG Index;

    /* The count of the parts stands where a system buffer would. */
    if (Device == Lower || Irp->AssociatedIrp.SystemBuffer) {
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    }
    for (Index = 0; Index < 2; Index++) {
        Parts[Index] = IoMakeAssociatedIrp(Irp, Lower->StackSize);
        if (!Parts[Index]) {
            if (Index) IoFreeIrp(Parts[0]);
            return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
        }
        IoGetNextIrpStackLocation(Parts[Index])->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    }
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoMarkIrpPending(Irp);
    Irp->AssociatedIrp.IrpCount = 2;
    for (Index = 0; Index < 2; Index++) IoCallDriver(Lower, Parts[Index]);
    return STATUS_PENDING;
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
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Lower);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    Driver->DriverUnload = Unload;
    return Status;
}
