// A field of a new block decides; it was set when the block was new.
#include "ui_driver.h"

typedef struct _STATE {
    ULONG Count;
    BOOLEAN IsReady;
} STATE, *PSTATE;

static PSTATE State;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (!State->IsReady) {
        return UiComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }
    State->Count++;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExFreePoolWithTag(State, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    State = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(STATE), UI_TAG);
    if (!State) return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(State, sizeof(STATE));
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(State, UI_TAG);
        return Status;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
