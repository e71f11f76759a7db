// Two counters stand side by side and are copied together; each is right by itself.
#include "ui_driver.h"

#define MOVE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define ASK CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)

static struct {
    LONG Requests;
    LONG Bytes;
} Statistics;
static FAST_MUTEX Lock;

static VOID Move(VOID)
{
    ExAcquireFastMutex(&Lock);
    *(volatile LONG *)&Statistics.Requests = Statistics.Requests + 1;
    *(volatile LONG *)&Statistics.Bytes = Statistics.Bytes + 512;
    ExReleaseFastMutex(&Lock);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    switch (At->Parameters.DeviceIoControl.IoControlCode) {
    case MOVE:
        Move();
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    case ASK:
        if (At->Parameters.DeviceIoControl.OutputBufferLength < sizeof(LONG64)) break;
        RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, &Statistics, sizeof(Statistics));
        return UiComplete(Irp, STATUS_SUCCESS, sizeof(LONG64));
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    return UiStart(Driver, DeviceControl);
}
