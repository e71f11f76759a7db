//@depth: 1
//@expect: pool::leaked_at_unload
//@bug: When the second buffer of a pair cannot be had, the first one is lost.
/* Copies the input into one buffer and a digest of it into another, then compares them. */
#include "ui_driver.h"

#define BYTES 128

static NTSTATUS Compare(const UCHAR *Input, ULONG Bytes)
{
    UCHAR *Copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
    UCHAR *Digest;
    NTSTATUS Status;
    ULONG i;

    if (Copy == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Digest = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
    if (Digest == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    if (Bytes > BYTES) Bytes = BYTES;
    for (i = 0; i < Bytes; i++) {
        Copy[i] = Input[i];
        Digest[i] = (UCHAR)(Input[i] * 3);
    }
    Status = RtlCompareMemory(Copy, Digest, BYTES) == BYTES ? STATUS_SUCCESS : STATUS_NOT_FOUND;
    ExFreePoolWithTag(Digest, UI_TAG);
    ExFreePoolWithTag(Copy, UI_TAG);
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Status = Compare(Irp->AssociatedIrp.SystemBuffer,
                     At->Parameters.DeviceIoControl.InputBufferLength);
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
