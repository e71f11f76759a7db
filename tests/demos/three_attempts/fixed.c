/* Copies the input through a buffer, and is patient when memory is short. */
#include "ui_driver.h"

#define BYTES 64
#define ATTEMPTS 3

static UCHAR *AllocatePatiently(VOID)
{
    LARGE_INTEGER Pause;
    UCHAR *Buffer;
    ULONG i;

    Pause.QuadPart = -10000LL;
    for (i = 0; i < ATTEMPTS; i++) {
        Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
        if (Buffer != NULL) return Buffer;
        KeDelayExecutionThread(KernelMode, FALSE, &Pause);
    }
    return NULL;
}

static NTSTATUS Serve(VOID)
{
    UCHAR *Buffer = AllocatePatiently();
    ULONG i;

    if (Buffer == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    for (i = 0; i < BYTES; i++) Buffer[i] = (UCHAR)i;
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

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
