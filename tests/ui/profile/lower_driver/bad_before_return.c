// A pending request is thought to be still there when IoCallDriver has returned.
//@args: --profile strict
#include "stack.h"

static NTSTATUS PassDown(PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status;

    IoMarkIrpPending(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    Status = IoCallDriver(Lower, Irp);
    if (Status == STATUS_PENDING && At->MajorFunction != IRP_MJ_DEVICE_CONTROL) {
        //~^ irp::touched_after_completion
        KeBugCheck(0xdead);
    }
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return StackStart(Driver);
}
