/* Works in a spare buffer; a request that finds no memory for its own gives the spare back. */
#include "ui_driver.h"

#define BYTES 128

static FAST_MUTEX Lock;
static PVOID volatile Spare;

/* With the lock held by the only user of the spare buffer. */
static NTSTATUS UseSpare(VOID)
{
    if (Spare == NULL) Spare = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
    if (Spare == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    RtlFillMemory(Spare, BYTES, 0x22);
    return STATUS_SUCCESS;
}

/* Memory is short. */
static VOID Trim(VOID)
{
    ExAcquireFastMutex(&Lock);
    if (Spare != NULL) {
        ExFreePoolWithTag(Spare, UI_TAG);
        Spare = NULL;
    }
    ExReleaseFastMutex(&Lock);
}

static NTSTATUS Serve(VOID)
{
    PVOID Own = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
    NTSTATUS Status = STATUS_DEVICE_BUSY;

    if (Own == NULL) {
        Trim();
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    ExAcquireFastMutex(&Lock);
    Status = UseSpare();
    ExReleaseFastMutex(&Lock);
    ExFreePoolWithTag(Own, UI_TAG);
    return Status;
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

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Spare != NULL) ExFreePoolWithTag(Spare, UI_TAG);
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
