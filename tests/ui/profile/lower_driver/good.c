// The completion routine uses what is good at DISPATCH_LEVEL, in whatever thread.
//@args: --profile strict
#include "stack.h"

static LONG Done;

static NTSTATUS NTAPI Completed(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) IoMarkIrpPending(Irp);
    InterlockedIncrement(&Done);
    return STATUS_CONTINUE_COMPLETION;
}

static NTSTATUS PassDown(PIRP Irp)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Completed, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower, Irp);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return StackStart(Driver);
}
