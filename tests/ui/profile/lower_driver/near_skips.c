// Nothing is done with the request afterwards: what the driver below returns is passed on.
//@args: --profile strict
#include "stack.h"

static NTSTATUS PassDown(PIRP Irp)
{
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower, Irp);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return StackStart(Driver);
}
