// The offset and the length of a block are compared with what is left of its transfer.
#include "ui_driver.h"

#define BEGIN 0x4e474542
#define BLOCK 0x4b434c42

typedef struct _TRANSFER {
    ULONG Kind;
    ULONG Stream;
    ULONG Offset;
    ULONG Bytes;
    UCHAR Data[16];
} TRANSFER;

static FAST_MUTEX Lock;
static PUCHAR Buffer;
static ULONG Total;

static NTSTATUS Begin(TRANSFER *In)
{
    if (In->Bytes == 0 || In->Bytes > 64) return STATUS_INVALID_PARAMETER;
    if (Buffer != NULL) return STATUS_DEVICE_BUSY;
    Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, In->Bytes, UI_TAG);
    if (Buffer == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Total = In->Bytes;
    return STATUS_SUCCESS;
}

static NTSTATUS Block(TRANSFER *In)
{
    if (Buffer == NULL) return STATUS_INVALID_DEVICE_STATE;
    if (In->Stream != 0x77 || In->Bytes > sizeof(In->Data)) return STATUS_INVALID_PARAMETER;
    if (In->Offset > Total || In->Bytes > Total - In->Offset) return STATUS_INVALID_PARAMETER;
    RtlCopyMemory(Buffer + In->Offset, In->Data, In->Bytes);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Code = At->Parameters.DeviceIoControl.IoControlCode;
    TRANSFER *In = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    if (Code != UI_IOCTL(METHOD_BUFFERED)) return UiComplete(Irp, Status, 0);
    if (At->Parameters.DeviceIoControl.InputBufferLength != sizeof(TRANSFER)) {
        return UiComplete(Irp, STATUS_INVALID_BUFFER_SIZE, 0);
    }
    ExAcquireFastMutex(&Lock);
    if (In->Kind == BEGIN) Status = Begin(In);
    if (In->Kind == BLOCK) Status = Block(In);
    ExReleaseFastMutex(&Lock);
    return UiComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Buffer != NULL) ExFreePoolWithTag(Buffer, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Status = UiStart(Driver, DeviceControl);
    if (NT_SUCCESS(Status)) Driver->DriverUnload = Unload;
    return Status;
}
