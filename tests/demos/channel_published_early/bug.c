//@depth: 1
//@expect: memory::null_dereference
//@bug: A channel is in the list, where other requests find it, before it has its ring.
/* One channel, made by the first request; every request puts a byte into the channel's ring. */
#include "ui_driver.h"

#define RING_BYTES 256

typedef struct _CHANNEL {
    LIST_ENTRY Link;
    UCHAR *Ring;
    UCHAR Next;
} CHANNEL;

static FAST_MUTEX Lock;
static LIST_ENTRY Channels;

static VOID FreeChannel(CHANNEL *Channel)
{
    if (Channel->Ring != NULL) ExFreePoolWithTag(Channel->Ring, UI_TAG);
    ExFreePoolWithTag(Channel, UI_TAG);
}

static CHANNEL *FirstChannel(VOID)
{
    if (IsListEmpty(&Channels)) return NULL;
    return CONTAINING_RECORD(Channels.Flink, CHANNEL, Link);
}

static NTSTATUS AddChannel(VOID)
{
    CHANNEL *Channel = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(CHANNEL), UI_TAG);

    if (Channel == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExAcquireFastMutex(&Lock);
    InsertTailList(&Channels, &Channel->Link);
    ExReleaseFastMutex(&Lock);
    Channel->Ring = ExAllocatePool2(POOL_FLAG_NON_PAGED, RING_BYTES, UI_TAG);
    if (Channel->Ring == NULL) {
        ExAcquireFastMutex(&Lock);
        RemoveEntryList(&Channel->Link);
        ExReleaseFastMutex(&Lock);
        FreeChannel(Channel);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS Put(VOID)
{
    CHANNEL *Channel;
    NTSTATUS Status = STATUS_SUCCESS;

    ExAcquireFastMutex(&Lock);
    Channel = FirstChannel();
    ExReleaseFastMutex(&Lock);
    if (Channel == NULL) Status = AddChannel();
    if (!NT_SUCCESS(Status)) return Status;
    ExAcquireFastMutex(&Lock);
    Channel = FirstChannel();
    if (Channel != NULL) Channel->Ring[Channel->Next++] = 1;
    ExReleaseFastMutex(&Lock);
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Put(), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    while (!IsListEmpty(&Channels)) {
        FreeChannel(CONTAINING_RECORD(RemoveHeadList(&Channels), CHANNEL, Link));
    }
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    InitializeListHead(&Channels);
    Status = UiStart(Driver, DeviceControl);
    Driver->DriverUnload = Unload;
    return Status;
}
