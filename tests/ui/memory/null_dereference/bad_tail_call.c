// A routine whose last act is a call of the kernel: the compiler makes a jump of it.
//@cflags: -O2
#include "ui_driver.h"

static PKEVENT volatile Event;
static volatile LONG Signals;

static __attribute__((noinline)) VOID Signal(VOID)
{
    Signals++;
    KeSetEvent(Event, IO_NO_INCREMENT, FALSE); //~ memory::null_dereference
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Signal();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
