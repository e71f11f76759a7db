// A request writes the two halves of an offset; another one counts itself and reads the offset
// under the same lock.
#include "ui_driver.h"

#define MOVE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define ASK CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)

static volatile LARGE_INTEGER Offset;
static FAST_MUTEX Lock;
static ULONG Asked;

static VOID Move(VOID)
{
    LARGE_INTEGER Next;

    ExAcquireFastMutex(&Lock);
    Next.QuadPart = Offset.QuadPart + 0x180000000;
    Offset.LowPart = Next.LowPart;
    Offset.HighPart = Next.HighPart;
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
        ExAcquireFastMutex(&Lock);
        Asked++;
        *(LONG64 *)Irp->AssociatedIrp.SystemBuffer = Offset.QuadPart + 16;
        ExReleaseFastMutex(&Lock);
        return UiComplete(Irp, STATUS_SUCCESS, sizeof(LONG64));
    }
    return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Offset.QuadPart = 0x80000000;
    return UiStart(Driver, DeviceControl);
}
