/* A routing table that every request reads and then replaces; readers do not block each other. */
#include "ui_driver.h"

#define ROUTES 32

static EX_PUSH_LOCK Lock;
static ULONG *volatile Routes;

static VOID EnterShared(VOID)
{
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&Lock);
}

static VOID LeaveShared(VOID)
{
    ExReleasePushLockShared(&Lock);
    KeLeaveCriticalRegion();
}

static VOID EnterExclusive(VOID)
{
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Lock);
}

static VOID LeaveExclusive(VOID)
{
    ExReleasePushLockExclusive(&Lock);
    KeLeaveCriticalRegion();
}

static ULONG *NewRoutes(VOID)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, ROUTES * sizeof(ULONG), UI_TAG);
}

static NTSTATUS Serve(VOID)
{
    ULONG *New = NewRoutes();
    ULONG *Old;
    ULONG Sum = 0;
    ULONG i;

    if (New == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    EnterShared();
    for (i = 0; i < ROUTES; i++) Sum += Routes[i];
    LeaveShared();
    New[0] = Sum + 1;
    EnterExclusive();
    Old = Routes;
    ExFreePoolWithTag(Old, UI_TAG);
    Routes = New;
    LeaveExclusive();
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
    ExFreePoolWithTag(Routes, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializePushLock(&Lock);
    Routes = NewRoutes();
    if (Routes == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Routes, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
