//@depth: 2
//@expect: pool::leaked_at_unload
//@bug: Only when the smaller allocation fails too, the header made before is not freed.
/* A report of as many lines as memory allows: many, or few when memory is short. */
#include "ui_driver.h"

#define MANY 512
#define FEW 64

typedef struct _REPORT {
    ULONG *Lines;
    ULONG Count;
} REPORT;

static NTSTATUS MakeReport(REPORT **Made)
{
    REPORT *Report = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(REPORT), UI_TAG);

    if (Report == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Report->Count = MANY;
    Report->Lines = ExAllocatePool2(POOL_FLAG_NON_PAGED, MANY * sizeof(ULONG), UI_TAG);
    if (Report->Lines == NULL) {
        Report->Count = FEW;
        Report->Lines = ExAllocatePool2(POOL_FLAG_NON_PAGED, FEW * sizeof(ULONG), UI_TAG);
        if (Report->Lines == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    }
    *Made = Report;
    return STATUS_SUCCESS;
}

static NTSTATUS Serve(VOID)
{
    REPORT *Report = NULL;
    NTSTATUS Status = MakeReport(&Report);
    ULONG i;

    if (!NT_SUCCESS(Status)) return Status;
    for (i = 0; i < Report->Count; i++) Report->Lines[i] = i;
    ExFreePoolWithTag(Report->Lines, UI_TAG);
    ExFreePoolWithTag(Report, UI_TAG);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Serve(), 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
