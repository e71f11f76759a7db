//@depth: 1
//@expect: memory::use_after_free, memory::null_dereference, pool::double_free
//@bug: The session is freed in cleanup, when requests on the file may still be running.
/* Every open file has a session that counts its requests; a read returns the count. */
#include "ui_driver.h"

typedef struct _SESSION {
    volatile LONG Requests;
    LONG History[8];
} SESSION;

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    SESSION *Session = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SESSION), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (Session == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Session;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS EndSession(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ExFreePoolWithTag(IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    SESSION *Session = At->FileObject->FsContext;
    LONG Number;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.Read.Length < sizeof(Number)) {
        return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
    Number = InterlockedIncrement(&Session->Requests);
    InterlockedExchange(&Session->History[Number % 8], Number);
    *(PLONG)Irp->AssociatedIrp.SystemBuffer = Session->Requests;
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(Number));
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DeviceObject->Flags |= DO_BUFFERED_IO;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = EndSession;
    return STATUS_SUCCESS;
}
