/* Requests without memory use up a reserve buffer that was set aside at the start. */
#include "ui_driver.h"

#define BYTES 128

static PVOID volatile Reserve;

static PVOID Allocate(VOID)
{
    PVOID Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);

    if (Buffer == NULL) {
        Buffer = InterlockedExchangePointer((PVOID volatile *)&Reserve, NULL);
    }
    return Buffer;
}

static NTSTATUS Serve(VOID)
{
    PVOID Buffer = Allocate();

    if (Buffer == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    RtlFillMemory(Buffer, BYTES, 0x11);
    ExFreePoolWithTag(Buffer, UI_TAG);
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
    if (Reserve != NULL) ExFreePoolWithTag(Reserve, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Reserve = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
    if (Reserve == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Reserve, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
