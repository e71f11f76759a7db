// A request waits without a cancel routine until the caller closes its handle; one that comes even
// later is refused.
#include "ui_driver.h"

static KSPIN_LOCK Lock;
static PIRP Waiting;

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIRP Old;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &Irql);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = &Lock;
    Old = Waiting;
    Waiting = NULL;
    KeReleaseSpinLock(&Lock, Irql);
    if (Old) UiComplete(Old, STATUS_CANCELLED, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    PIRP Old;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireSpinLock(&Lock, &Irql);
    if (File->FsContext) {
        KeReleaseSpinLock(&Lock, Irql);
        return UiComplete(Irp, STATUS_FILE_CLOSED, 0);
    }
    IoMarkIrpPending(Irp);
    Old = Waiting;
    Waiting = Irp;
    KeReleaseSpinLock(&Lock, Irql);
    if (Old) UiComplete(Old, STATUS_SUCCESS, 0);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
