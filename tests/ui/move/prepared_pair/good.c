// A read takes what it needs while it holds the lock.
#include "ui_driver.h"

typedef struct {
    ULONG Bytes;
} RECORD;

static KSPIN_LOCK Lock;
static RECORD *Latest;

static RECORD *Exchange(RECORD *New)
{
    RECORD *Old;
    KIRQL Irql;

    KeAcquireSpinLock(&Lock, &Irql);
    Old = Latest;
    Latest = New;
    KeReleaseSpinLock(&Lock, Irql);
    return Old;
}

static NTSTATUS Write(PDEVICE_OBJECT Device, PIRP Irp)
{
    RECORD *Record = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Record), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (Record == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Record->Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;
    Record = Exchange(Record);
    if (Record != NULL) ExFreePoolWithTag(Record, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Delay;
    ULONG Bytes = 0;
    BOOLEAN IsThere;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &Irql);
    IsThere = Latest != NULL;
    if (IsThere) Bytes = Latest->Bytes;
    KeReleaseSpinLock(&Lock, Irql);
    if (!IsThere) return UiComplete(Irp, STATUS_NO_DATA_DETECTED, 0);
    Delay.QuadPart = -10000;
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    if (Bytes == 0) return UiComplete(Irp, STATUS_END_OF_FILE, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    RECORD *Record = Exchange(NULL);

    if (Record != NULL) ExFreePoolWithTag(Record, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_WRITE] = Write;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
