// A request waits in its caller's thread on behalf of user mode: the end of the thread ends the
// wait, whether it is alertable or not ("Waits and APCs"), and the request fails.
//@strict: 1
#include "ui_driver.h"

static KEVENT Event;
static KSEMAPHORE Items;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = KeWaitForSingleObject(&Event, UserRequest, UserMode, FALSE, NULL);

    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, Status == STATUS_SUCCESS ? STATUS_SUCCESS : STATUS_CANCELLED, 0);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    PVOID Objects[] = {&Event, &Items};
    NTSTATUS Status = KeWaitForMultipleObjects(
        2, Objects, WaitAny, UserRequest, UserMode, TRUE, NULL, NULL);

    UNREFERENCED_PARAMETER(Device);
    if (Status == STATUS_WAIT_1) return UiComplete(Irp, STATUS_SUCCESS, 0);
    return UiComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = KeWaitForSingleObject(&Items, UserRequest, UserMode, TRUE, NULL);

    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, Status == STATUS_SUCCESS ? STATUS_SUCCESS : STATUS_CANCELLED, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    KeInitializeSemaphore(&Items, 0, MAXLONG);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    return STATUS_SUCCESS;
}
