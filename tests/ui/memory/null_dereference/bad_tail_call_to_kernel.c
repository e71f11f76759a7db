// The same in a routine that the kernel called: no frame of the driver is left.
//@cflags: -O2
#include <ntddk.h>

static PKEVENT volatile Event;
static volatile LONG Signals;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    Signals++;
    KeSetEvent(Event, IO_NO_INCREMENT, FALSE); //~ memory::null_dereference
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
