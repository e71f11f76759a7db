// Two structures are compared with their padding first, and by fields where that differs.
#include "ui_driver.h"

typedef struct _KEY {
    UCHAR Kind;
    ULONG Value;
} KEY, *PKEY;

static BOOLEAN IsEqual(PKEY A, PKEY B)
{
    // Equal bytes are equal keys; other bytes may still be.
    if (*(volatile ULONG64 *)A == *(volatile ULONG64 *)B) return TRUE;
    return A->Kind == B->Kind && A->Value == B->Value;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PKEY Keys = ExAllocatePoolWithTag(NonPagedPoolNx, 2 * sizeof(KEY), UI_TAG);
    BOOLEAN Result;

    UNREFERENCED_PARAMETER(Device);
    if (!Keys) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Keys[0].Kind = Keys[1].Kind = 1;
    Keys[0].Value = Keys[1].Value = 7;
    Result = IsEqual(&Keys[0], &Keys[1]);
    ExFreePoolWithTag(Keys, UI_TAG);
    return UiComplete(Irp, Result ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
