/* A scratch buffer that exists only while requests use it; each request sums what it finds. */
#include "ui_driver.h"

#define WORDS 64

static FAST_MUTEX Lock;
static volatile LONG Users;
static ULONG *volatile Scratch;

static BOOLEAN Enter(VOID)
{
    BOOLEAN IsThere = TRUE;

    ExAcquireFastMutex(&Lock);
    if (Users++ == 0) {
        Scratch = ExAllocatePool2(POOL_FLAG_NON_PAGED, WORDS * sizeof(ULONG), UI_TAG);
        if (Scratch == NULL) {
            Users--;
            IsThere = FALSE;
        }
    }
    ExReleaseFastMutex(&Lock);
    return IsThere;
}

static VOID Leave(VOID)
{
    ExAcquireFastMutex(&Lock);
    if (--Users == 0) {
        ExFreePoolWithTag(Scratch, UI_TAG);
        Scratch = NULL;
    }
    ExReleaseFastMutex(&Lock);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Sum = 0;
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    if (!Enter()) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    for (i = 0; i < WORDS; i++) Sum += Scratch[i];
    Leave();
    return UiComplete(Irp, Sum == 0 ? STATUS_SUCCESS : STATUS_DATA_ERROR, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    return UiStart(Driver, DeviceControl);
}
