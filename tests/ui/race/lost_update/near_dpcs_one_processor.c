// Two DPCs count the same thing, and both run on processor 0: one after the other.
#include "ui_driver.h"

static KDPC Dpcs[2];
static LONG Count;

static VOID Counted(PKDPC Self, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Self);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Count++;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeInsertQueueDpc(&Dpcs[0], NULL, NULL);
    KeInsertQueueDpc(&Dpcs[1], NULL, NULL);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    for (ULONG i = 0; i < 2; i++) {
        KeInitializeDpc(&Dpcs[i], Counted, NULL);
        KeSetTargetProcessorDpc(&Dpcs[i], 0);
    }
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
