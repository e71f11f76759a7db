// The close request, in whatever thread, finds its record at the file object.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client = RememberClient(PsGetCurrentProcessId());

    UNREFERENCED_PARAMETER(Device);
    if (!Client) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    InterlockedIncrement(&Client->Calls);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Client;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    InterlockedDecrement(&Client->Calls);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = ClientsStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return Status;
}
