/* Asks again and again for memory, with a rest in between, and says so when there is none. */
#include "ui_driver.h"

#define ATTEMPTS 5

static PVOID AllocatePatiently(VOID)
{
    LARGE_INTEGER Pause;
    PVOID Block = NULL;
    ULONG i;

    Pause.QuadPart = -10000LL;
    for (i = 0; Block == NULL && i < ATTEMPTS; i++) {
        if (i != 0) KeDelayExecutionThread(KernelMode, FALSE, &Pause);
        Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, UI_TAG);
    }
    return Block;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    UCHAR *First, *Second;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    First = AllocatePatiently();
    Second = AllocatePatiently();
    if (First != NULL && Second != NULL) First[0] = Second[0];
    if (First != NULL) ExFreePoolWithTag(First, UI_TAG);
    if (Second != NULL) ExFreePoolWithTag(Second, UI_TAG);
    return UiComplete(Irp, First != NULL && Second != NULL
        ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
