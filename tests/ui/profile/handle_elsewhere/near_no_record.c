// Cleanup in a process that has no record leaves it at that.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client = RememberClient(PsGetCurrentProcessId());

    UNREFERENCED_PARAMETER(Device);
    if (!Client) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    InterlockedIncrement(&Client->Calls);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    CLIENT *Client = FindClient(PsGetCurrentProcessId());

    UNREFERENCED_PARAMETER(Device);
    if (Client) InterlockedDecrement(&Client->Calls);
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
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return Status;
}
