//@depth: 2
//@expect: memory::use_after_free
//@bug: A reader looks for a writer before it counts itself, so the writer may miss it.
/* A routing table that every request reads and then replaces; readers do not block each other. */
#include "ui_driver.h"

#define ROUTES 32

static volatile LONG Readers;
static volatile LONG IsWriting;
static ULONG *volatile Routes;

static VOID Pause(VOID)
{
    LARGE_INTEGER Time;

    Time.QuadPart = -10000LL;
    KeDelayExecutionThread(KernelMode, FALSE, &Time);
}

static VOID EnterShared(VOID)
{
    while (IsWriting) Pause();
    InterlockedIncrement(&Readers);
}

static VOID LeaveShared(VOID)
{
    InterlockedDecrement(&Readers);
}

static VOID EnterExclusive(VOID)
{
    while (InterlockedCompareExchange(&IsWriting, 1, 0) != 0) Pause();
    while (Readers != 0) Pause();
}

static VOID LeaveExclusive(VOID)
{
    InterlockedExchange(&IsWriting, 0);
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
    Routes = NewRoutes();
    if (Routes == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Routes, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
