/* A log of the last control code. The first request makes the log, unload frees it. */
#include "ui_driver.h"

typedef struct _LOG {
    ULONG LastCode;
    ULONG Padding[31];
} LOG;

static FAST_MUTEX Lock;
static LOG *Log;

static NTSTATUS Append(ULONG Code)
{
    NTSTATUS Status = STATUS_SUCCESS;

    ExAcquireFastMutex(&Lock);
    if (Log == NULL) Log = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(LOG), UI_TAG);
    if (Log == NULL) Status = STATUS_INSUFFICIENT_RESOURCES;
    else Log->LastCode = Code;
    ExReleaseFastMutex(&Lock);
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Code = IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode;

    UNREFERENCED_PARAMETER(Device);
    if (Code != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Append(Code), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Log != NULL) ExFreePoolWithTag(Log, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Status = UiStart(Driver, DeviceControl);
    Driver->DriverUnload = Unload;
    return Status;
}
