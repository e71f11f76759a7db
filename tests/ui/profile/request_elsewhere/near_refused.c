// A process that did not open the device is refused.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (!RememberClient(PsGetCurrentProcessId())) {
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client = FindClient(PsGetProcessId(IoGetRequestorProcess(Irp)));

    UNREFERENCED_PARAMETER(Device);
    if (!Client) return UiComplete(Irp, STATUS_ACCESS_DENIED, 0);
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
