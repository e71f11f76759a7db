// The create request comes in the thread of whoever opens, whatever stands above.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client;

    UNREFERENCED_PARAMETER(Device);
    if (!RememberClient(PsGetProcessId(IoGetRequestorProcess(Irp)))) {
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Client = FindClient(PsGetCurrentProcessId());
    InterlockedIncrement(&Client->Calls);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Client;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    InterlockedIncrement(&Client->Calls);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = ClientsStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    return Status;
}
