//@depth: 1
//@expect: memory::null_dereference, memory::use_after_free, pool::leaked_at_unload
//@bug: The last close counts itself out, and frees the buffer when a new open already counts on it.
/* All open files share a buffer that exists from the first open to the last close. */
#include "ui_driver.h"

#define WORDS 16

static FAST_MUTEX Lock;
static volatile LONG Opens;
static LONG *volatile Shared;

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(Device);
    if (InterlockedIncrement(&Opens) == 1) {
        ExAcquireFastMutex(&Lock);
        Shared = ExAllocatePool2(POOL_FLAG_NON_PAGED, WORDS * sizeof(LONG), UI_TAG);
        if (Shared == NULL) {
            InterlockedDecrement(&Opens);
            Status = STATUS_INSUFFICIENT_RESOURCES;
        }
        ExReleaseFastMutex(&Lock);
    }
    return UiComplete(Irp, Status, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (InterlockedDecrement(&Opens) == 0) {
        ExAcquireFastMutex(&Lock);
        ExFreePoolWithTag(Shared, UI_TAG);
        Shared = NULL;
        ExReleaseFastMutex(&Lock);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Serve(VOID)
{
    ULONG i;

    for (i = 0; i < WORDS; i++) InterlockedIncrement(&Shared[i]);
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
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Status = UiStart(Driver, DeviceControl);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return Status;
}
