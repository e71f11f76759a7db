// The block is freed while the DPC waits for the IRQL to drop.
#include <ntddk.h>

typedef struct _STATE {
    KDPC Dpc;
    ULONG Ticks;
} STATE;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    ((STATE *)Context)->Ticks++;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    STATE *State;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    State = ExAllocatePoolWithTag(NonPagedPool, sizeof(STATE), 'tseT');
    if (!State) return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(State, sizeof(STATE));
    KeInitializeDpc(&State->Dpc, Deferred, State);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeInsertQueueDpc(&State->Dpc, NULL, NULL); //~ NOTE: the DPC was queued here
    ExFreePoolWithTag(State, 'tseT'); //~ dpc::gone_while_queued
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
