/* Keeps one spare buffer, so that most requests need no allocation. */
#include "ui_driver.h"

#define BYTES 256

static FAST_MUTEX Lock;
static PVOID volatile Spare;

static VOID Enter(VOID)
{
    ExAcquireFastMutex(&Lock);
}

static VOID Leave(VOID)
{
    ExReleaseFastMutex(&Lock);
}

static NTSTATUS Serve(VOID)
{
    PVOID Buffer;

    Enter();
    Buffer = Spare;
    Spare = NULL;
    Leave();
    if (Buffer == NULL) Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
    if (Buffer == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    RtlFillMemory(Buffer, BYTES, 0x55);
    Enter();
    if (Spare == NULL) {
        Spare = Buffer;
        Buffer = NULL;
    }
    Leave();
    if (Buffer != NULL) ExFreePoolWithTag(Buffer, UI_TAG);
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
