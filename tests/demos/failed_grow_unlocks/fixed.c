/* Collects the numbers of requests in an array that grows; unload frees it. */
#include "ui_driver.h"

#define STEP 2
#define MOST 16

static FAST_MUTEX Lock;
static ULONG *Numbers;
static volatile ULONG Capacity;
static ULONG Count;

/* With the lock held; gives it back when it fails. */
static NTSTATUS Grow(VOID)
{
    ULONG *New;

    Capacity += STEP;
    New = ExAllocatePool2(POOL_FLAG_NON_PAGED, Capacity * sizeof(ULONG), UI_TAG);
    if (New == NULL) {
        Capacity -= STEP;
        ExReleaseFastMutex(&Lock);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Numbers != NULL) {
        RtlCopyMemory(New, Numbers, Count * sizeof(ULONG));
        ExFreePoolWithTag(Numbers, UI_TAG);
    }
    Numbers = New;
    return STATUS_SUCCESS;
}

static NTSTATUS Serve(VOID)
{
    ExAcquireFastMutex(&Lock);
    if (Count == MOST) Count = 0;
    if (Count == Capacity) {
        NTSTATUS Status = Grow();

        if (!NT_SUCCESS(Status)) return Status;
    }
    Numbers[Count] = Count;
    Count++;
    ExReleaseFastMutex(&Lock);
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
    ExFreePoolWithTag(Numbers, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    /* Room for one number: the second request grows the array. */
    Numbers = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(ULONG), UI_TAG);
    if (Numbers == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Capacity = 1;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Numbers, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
