// The completion routine takes a fast mutex, as if it ran where the request was passed down.
//@args: --profile strict
#include "stack.h"

static FAST_MUTEX Lock;
static LONG Done;

static NTSTATUS NTAPI Completed(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) IoMarkIrpPending(Irp);
    ExAcquireFastMutex(&Lock); //~ irql::export_above_limit
    Done += 1;
    ExReleaseFastMutex(&Lock);
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
    ExInitializeFastMutex(&Lock);
    return StackStart(Driver);
}
