// One bit of a word is set, and only that bit is tested.
#include "ui_driver.h"

typedef struct _FLAGS {
    ULONG IsOpen : 1;
    ULONG IsBusy : 1;
    ULONG Unused : 30;
} FLAGS, *PFLAGS;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFLAGS Flags = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(FLAGS), UI_TAG);
    BOOLEAN IsOpen;

    UNREFERENCED_PARAMETER(Device);
    if (!Flags) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Flags->IsOpen = 1;
    IsOpen = *(volatile ULONG *)Flags & 1;
    ExFreePoolWithTag(Flags, UI_TAG);
    return UiComplete(Irp, IsOpen ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
