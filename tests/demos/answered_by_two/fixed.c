/* One read waits at a time; a write answers it, or a timer does after 5 ms. */
#include "ui_driver.h"

#define TIMEOUT_MS 5

static PIRP volatile Waiting;
static KTIMER Timer;
static KDPC Dpc;

static BOOLEAN Answer(NTSTATUS Status)
{
    PIRP Irp = InterlockedExchangePointer((PVOID volatile *)&Waiting, NULL);

    if (Irp == NULL) return FALSE;
    UiComplete(Irp, Status, 0);
    return TRUE;
}

static VOID OnTimer(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Answer(STATUS_IO_TIMEOUT);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    if (InterlockedCompareExchangePointer((PVOID volatile *)&Waiting, Irp, NULL) != NULL) {
        UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
        return STATUS_PENDING;
    }
    Due.QuadPart = -10000LL * TIMEOUT_MS;
    KeSetTimer(&Timer, Due, &Dpc);
    return STATUS_PENDING;
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, Answer(STATUS_SUCCESS) ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, OnTimer, NULL);
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Status = UiStart(Driver, DeviceControl);
    Driver->DriverUnload = Unload;
    return Status;
}
