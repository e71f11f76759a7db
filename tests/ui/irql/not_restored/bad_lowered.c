// A DPC lowers the IRQL that it did not raise, and returns at PASSIVE_LEVEL.
#include <ntddk.h>

static KDPC Dpc;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    DbgPrint("deferred\n");
    KeLowerIrql(PASSIVE_LEVEL);
} //~ irql::not_restored

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Moment;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    Moment.QuadPart = -10000;
    KeDelayExecutionThread(KernelMode, FALSE, &Moment);
    return STATUS_SUCCESS;
}
