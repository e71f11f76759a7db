// A DPC waits for an event without a timeout of zero.
#include <ntddk.h>

static KEVENT Event;
static KDPC Dpc;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL); //~ irql::export_above_limit
    DbgPrint("waited\n");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Moment = {{-10000, -1}};

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeDelayExecutionThread(KernelMode, FALSE, &Moment);
    return STATUS_SUCCESS;
}
