/* A request of about 300 instructions that writes to each of 32 adjacent KiB. */
#include "ui_driver.h"

static UCHAR Memory[32 * 1024];

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG64 Sum = Memory[0];
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
#pragma clang loop unroll(disable)
    for (i = 0; i < 32; i++) {
        volatile ULONG64 *Spot = (volatile ULONG64 *)(Memory + i * 1024 + 512);
        Sum = Sum * 31 + i;
        *Spot = Sum;
    }
    return UiComplete(Irp, Sum ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
