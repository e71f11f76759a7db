// A mutex is waited for and paged memory used: a filter may change the thread, not the level.
//@args: --profile strict
#include "../clients.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Bytes = At->Parameters.DeviceIoControl.OutputBufferLength;
    PVOID Paged;
    PVOID Out;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_OUT_DIRECT)
        || !Irp->MdlAddress) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Out = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    Paged = ExAllocatePool2(POOL_FLAG_PAGED, Bytes, UI_TAG);
    if (!Out || !Paged || !RememberClient(PsGetProcessId(IoGetRequestorProcess(Irp)))) {
        if (Paged) ExFreePoolWithTag(Paged, UI_TAG);
        return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    RtlCopyMemory(Out, Paged, Bytes);
    ExFreePoolWithTag(Paged, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, Bytes);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return ClientsStart(Driver, DeviceControl);
}
