// The driver fills a block without a look at whether it got one.
//@needs: pool_failure
#include "ui_driver.h"

static PVOID Block;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PUCHAR Scratch;

    UNREFERENCED_PARAMETER(Device);
    Scratch = ExAllocatePoolWithTag(NonPagedPoolNx, 64, UI_TAG); //~ NOTE: fails here
    Scratch[0] = 1; //~ memory::null_dereference
    Block = Scratch;
    ExFreePoolWithTag(Scratch, UI_TAG);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
