// The routine of the DPC frees the block that the DPC stands in.
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
    ExFreePoolWithTag(Context, 'tseT');
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
    KeInsertQueueDpc(&State->Dpc, NULL, NULL);
    KeLowerIrql(OldIrql);
    return STATUS_SUCCESS;
}
