// METHOD_NEITHER is served in its caller's context: a filter must not bring it from elsewhere.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PVOID In = At->Parameters.DeviceIoControl.Type3InputBuffer;
    CLIENT *Client;
    LONG Step;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_NEITHER)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(LONG)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    __try {
        ProbeForRead(In, sizeof(LONG), sizeof(UCHAR));
        RtlCopyMemory(&Step, In, sizeof(LONG));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    if (!RememberClient(PsGetProcessId(IoGetRequestorProcess(Irp)))) {
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Client = FindClient(PsGetCurrentProcessId());
    InterlockedExchangeAdd(&Client->Calls, Step);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return ClientsStart(Driver, DeviceControl);
}
