/* Each request publishes a new snapshot of a counter; the one before goes when nobody uses it. */
#include "ui_driver.h"

typedef struct _SNAPSHOT {
    volatile LONG References;
    LONG Value;
} SNAPSHOT;

static SNAPSHOT *volatile Current;
static volatile LONG Value;

static VOID Release(SNAPSHOT *Snapshot)
{
    if (InterlockedDecrement(&Snapshot->References) == 0) ExFreePoolWithTag(Snapshot, UI_TAG);
}

static NTSTATUS Publish(VOID)
{
    SNAPSHOT *New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SNAPSHOT), UI_TAG);
    SNAPSHOT *Old;

    if (New == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    New->References = 2; /* Ours and that of `Current`. */
    New->Value = InterlockedIncrement(&Value);
    Old = InterlockedExchangePointer((PVOID volatile *)&Current, New);
    if (Old != NULL) Release(Old);
    DbgPrint("published %d\n", New->Value);
    Release(New);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Publish(), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Current != NULL) Release(Current);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    Driver->DriverUnload = Unload;
    return Status;
}
