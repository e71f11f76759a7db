// Part of a block is written and read by loops that the compiler turned into vectors.
//@cflags: -O3
#include "ui_driver.h"

#define COUNT 21

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PULONG Numbers = ExAllocatePoolWithTag(NonPagedPoolNx, 64 * sizeof(ULONG), UI_TAG);
    ULONG Sum = 0, Largest = 0, i;

    UNREFERENCED_PARAMETER(Device);
    if (!Numbers) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    // Two thirds of the block stay as they are.
    for (i = 0; i < COUNT; i++) Numbers[i] = i;
    for (i = 0; i < COUNT; i++) {
        Sum += Numbers[i];
        if (Numbers[i] > Largest) Largest = Numbers[i];
    }
    ExFreePoolWithTag(Numbers, UI_TAG);
    if (Sum != COUNT * (COUNT - 1) / 2 || Largest != COUNT - 1) {
        return UiComplete(Irp, STATUS_UNSUCCESSFUL, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
