// A structure of which half is set is copied as a whole; only the set half is used.
#include "ui_driver.h"

typedef struct _RECORD {
    ULONG IsLong;
    ULONG Short;
    ULONG64 Long[6];
} RECORD, *PRECORD;

static RECORD Saved;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PRECORD New = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(RECORD), UI_TAG);
    RECORD Copy;

    UNREFERENCED_PARAMETER(Device);
    if (!New) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    New->IsLong = 0;
    New->Short = 5;
    Copy = *New;
    Saved = Copy;
    ExFreePoolWithTag(New, UI_TAG);
    if (Saved.IsLong && Saved.Long[0] == 3) return UiComplete(Irp, STATUS_UNSUCCESSFUL, 0);
    return UiComplete(Irp, Saved.Short == 5 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
