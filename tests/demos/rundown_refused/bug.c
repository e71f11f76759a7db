//@depth: 1
//@expect: memory::use_after_free
//@bug: A refused run-down protection is no reason for the request not to use the table.
/* A table that every request reads and then replaces; run-down protection guards its end. */
#include "ui_driver.h"

#define ENTRIES 16

static EX_RUNDOWN_REF Rundown;
static FAST_MUTEX ReplaceLock;
static ULONG *volatile Table;

static ULONG *NewTable(VOID)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, ENTRIES * sizeof(ULONG), UI_TAG);
}

static NTSTATUS Sum(ULONG *Total)
{
    ULONG i;
    BOOLEAN IsHeld = ExAcquireRundownProtection(&Rundown);

    *Total = 0;
    for (i = 0; i < ENTRIES; i++) *Total += Table[i];
    if (IsHeld) ExReleaseRundownProtection(&Rundown);
    return STATUS_SUCCESS;
}

static NTSTATUS Replace(ULONG First)
{
    ULONG *New = NewTable();
    ULONG *Old;

    if (New == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    New[0] = First;
    ExAcquireFastMutex(&ReplaceLock);
    ExWaitForRundownProtectionRelease(&Rundown);
    Old = Table;
    ExFreePoolWithTag(Old, UI_TAG);
    Table = New;
    ExReInitializeRundownProtection(&Rundown);
    ExReleaseFastMutex(&ReplaceLock);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status;
    ULONG Total;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Status = Sum(&Total);
    if (NT_SUCCESS(Status)) Status = Replace(Total + 1);
    return UiComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExFreePoolWithTag(Table, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeRundownProtection(&Rundown);
    ExInitializeFastMutex(&ReplaceLock);
    Table = NewTable();
    if (Table == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Table, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
