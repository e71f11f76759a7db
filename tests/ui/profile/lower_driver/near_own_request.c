// A request of the driver's own is waited for where it is pending; then the first one is completed.
//@args: --profile strict
#include "stack.h"

static NTSTATUS PassDown(PIRP Irp)
{
    IO_STATUS_BLOCK Block = {0};
    KEVENT Event;
    PIRP Own;
    NTSTATUS Status;

    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Own = IoBuildDeviceIoControlRequest(
        UI_IOCTL(METHOD_BUFFERED), Lower, NULL, 0, NULL, 0, FALSE, &Event, &Block);
    if (!Own) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Status = IoCallDriver(Lower, Own);
    if (Status == STATUS_PENDING) {
        KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
        Status = Block.Status;
    }
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return StackStart(Driver);
}
