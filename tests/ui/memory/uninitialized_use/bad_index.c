// An index that nobody set chooses what the caller is told.
#include "ui_driver.h"

static const NTSTATUS Answers[256] = { STATUS_DEVICE_NOT_READY, [165] = STATUS_DEVICE_BUSY };

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PUCHAR Block = ExAllocatePoolWithTag(NonPagedPoolNx, 16, UI_TAG);
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    if (!Block) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Status = Answers[Block[3]]; //~ memory::uninitialized_use
    ExFreePoolWithTag(Block, UI_TAG);
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
