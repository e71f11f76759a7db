//@depth: 1
//@expect: memory::use_after_free, memory::null_dereference
//@bug: The remove lock is released before the last access to what it protects.
/* A lookup table in memory of the device; one control code reads it, one shuts it down. */
#include "ui_driver.h"

#define IOCTL_SUM CTL_CODE(FILE_DEVICE_UNKNOWN, 0x810, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_SHUT_DOWN CTL_CODE(FILE_DEVICE_UNKNOWN, 0x820, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define ENTRIES 64

static IO_REMOVE_LOCK RemoveLock;
static volatile LONG IsShutDown;
static ULONG *Table;

static NTSTATUS Sum(PIRP Irp)
{
    NTSTATUS Status = IoAcquireRemoveLock(&RemoveLock, Irp);
    ULONG Total = 0;
    ULONG i;

    if (!NT_SUCCESS(Status)) return Status;
    IoReleaseRemoveLock(&RemoveLock, Irp);
    for (i = 0; i < ENTRIES; i++) Total += Table[i];
    return Total == 0 ? STATUS_SUCCESS : STATUS_DATA_ERROR;
}

static NTSTATUS ShutDown(PVOID Tag)
{
    NTSTATUS Status;

    if (InterlockedExchange(&IsShutDown, 1)) return STATUS_DELETE_PENDING;
    Status = IoAcquireRemoveLock(&RemoveLock, Tag);
    if (!NT_SUCCESS(Status)) return Status;
    IoReleaseRemoveLockAndWait(&RemoveLock, Tag);
    ExFreePoolWithTag(Table, UI_TAG);
    Table = NULL;
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    switch (At->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_SUM: Status = Sum(Irp); break;
    case IOCTL_SHUT_DOWN: Status = ShutDown(Irp); break;
    }
    return UiComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Table != NULL) ExFreePoolWithTag(Table, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    IoInitializeRemoveLock(&RemoveLock, UI_TAG, 0, 0);
    Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, ENTRIES * sizeof(ULONG), UI_TAG);
    if (Table == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Table, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
