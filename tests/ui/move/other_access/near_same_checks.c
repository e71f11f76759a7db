// A function is served under each of its codes, with the same checks.
#include "ui_driver.h"

#define FUNCTION(code) ((code) >> 2 & 0xfff)
#define IOCTL_SUM CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Code = At->Parameters.DeviceIoControl.IoControlCode, Sum = 0, Index;
    ULONG Length = At->Parameters.DeviceIoControl.InputBufferLength;
    volatile ULONG *In = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (FUNCTION(Code) != FUNCTION(IOCTL_SUM) || (Code & 3) != METHOD_BUFFERED) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (Length < 16 * sizeof(ULONG)) return UiComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    for (Index = 0; Index < 16; Index++) Sum += In[Index];
    return UiComplete(Irp, Sum ? STATUS_SUCCESS : STATUS_NO_MORE_ENTRIES, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    return STATUS_SUCCESS;
}
