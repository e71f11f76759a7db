//@depth: 1
//@expect: memory::null_dereference
//@bug: A device made later may be opened before its extension holds the table.
/* A control request makes a second device; opens of that one are counted in a table. */
#include "ui_driver.h"

#define SLOTS 8

typedef struct _EXTENSION {
    volatile LONG *Table;
} EXTENSION;

static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\UiSecond");
static UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\UiSecond");
static PDEVICE_OBJECT First;
static PDEVICE_OBJECT Second;
static volatile LONG IsMade;

static NTSTATUS MakeSecond(PDRIVER_OBJECT Driver)
{
    volatile LONG *Table;
    NTSTATUS Status;

    if (InterlockedExchange(&IsMade, 1)) return STATUS_SUCCESS;
    Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, SLOTS * sizeof(LONG), UI_TAG);
    if (Table == NULL) {
        InterlockedExchange(&IsMade, 0);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Status = IoCreateDevice(Driver, sizeof(EXTENSION), &Name, FILE_DEVICE_UNKNOWN,
                            FILE_DEVICE_SECURE_OPEN, FALSE, &Second);
    if (NT_SUCCESS(Status)) {
        Status = IoCreateSymbolicLink(&Link, &Name);
        if (!NT_SUCCESS(Status)) IoDeleteDevice(Second);
    }
    if (!NT_SUCCESS(Status)) {
        Second = NULL;
        ExFreePoolWithTag((PVOID)Table, UI_TAG);
        InterlockedExchange(&IsMade, 0);
        return Status;
    }
    Second->Flags &= ~DO_DEVICE_INITIALIZING;
    ((EXTENSION *)Second->DeviceExtension)->Table = Table;
    return STATUS_SUCCESS;
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device != First) {
        InterlockedIncrement(&((EXTENSION *)Device->DeviceExtension)->Table[0]);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, MakeSecond(Device->DriverObject), 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING FirstLink = RTL_CONSTANT_STRING(L"\\??\\Ui");

    UNREFERENCED_PARAMETER(Driver);
    if (Second != NULL) {
        IoDeleteSymbolicLink(&Link);
        ExFreePoolWithTag((PVOID)((EXTENSION *)Second->DeviceExtension)->Table, UI_TAG);
        IoDeleteDevice(Second);
    }
    IoDeleteSymbolicLink(&FirstLink);
    IoDeleteDevice(First);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    First = Driver->DeviceObject;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
