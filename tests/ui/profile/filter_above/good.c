// The caller's record is looked up by the process that asked, whoever brings the request.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    CLIENT *Client;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (!RememberClient(PsGetProcessId(IoGetRequestorProcess(Irp)))) {
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Client = FindClient(PsGetProcessId(IoGetRequestorProcess(Irp)));
    InterlockedIncrement(&Client->Calls);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return ClientsStart(Driver, DeviceControl);
}
