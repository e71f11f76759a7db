// A DPC routine whose last act is a call that is not allowed there: a jump, and nothing faults.
//@cflags: -O2
#include "ui_driver.h"

static KDPC Dpc;
static KEVENT Done;
static UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\UiOfBefore");

static VOID Routine(PKDPC Which, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Which);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeSetEvent(&Done, IO_NO_INCREMENT, FALSE);
    IoDeleteSymbolicLink(&Link); //~ irql::export_above_limit
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, Routine, NULL);
    return UiStart(Driver, DeviceControl);
}
