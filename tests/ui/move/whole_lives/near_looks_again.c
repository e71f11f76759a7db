// The last close waits, and then looks whether it is still the last.
#include "ui_driver.h"

static FAST_MUTEX Lock;
static ULONG Opens;
static LONG *volatile Shared;

static VOID Sleep(LONG Milliseconds)
{
    LARGE_INTEGER Delay;

    Delay.QuadPart = -10000LL * Milliseconds;
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;

    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Lock);
    if (Shared == NULL) Shared = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(LONG), UI_TAG);
    if (Shared != NULL) {
        Opens++;
        Status = STATUS_SUCCESS;
    }
    ExReleaseFastMutex(&Lock);
    return UiComplete(Irp, Status, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    BOOLEAN IsLast;

    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Lock);
    IsLast = --Opens == 0;
    ExReleaseFastMutex(&Lock);
    if (IsLast) {
        Sleep(1);
        ExAcquireFastMutex(&Lock);
        if (Opens == 0 && Shared != NULL) {
            ExFreePoolWithTag(Shared, UI_TAG);
            Shared = NULL;
        }
        ExReleaseFastMutex(&Lock);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Sleep(5);
    InterlockedIncrement(Shared);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return STATUS_SUCCESS;
}
