// A read of a device with neither buffered nor direct I/O comes in its caller's context.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Bytes = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    CLIENT *Client;

    UNREFERENCED_PARAMETER(Device);
    if (!RememberClient(PsGetProcessId(IoGetRequestorProcess(Irp)))) {
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Client = FindClient(PsGetCurrentProcessId());
    InterlockedIncrement(&Client->Calls);
    __try {
        ProbeForWrite(Irp->UserBuffer, Bytes, sizeof(UCHAR));
        RtlZeroMemory(Irp->UserBuffer, Bytes);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = ClientsStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    return Status;
}
